"""An object store as S3 speaks, in memory, that fails on demand: one bucket, no passwords, conditional writes, multipart uploads."""

import hashlib
import random
import threading
import time
import urllib.parse
import xml.sax.saxutils
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = "bucket"


class Bucket:
    """Serves on a loopback port in threads. `faults`: kind -> how likely, among `KINDS`; `down`: nothing is answered but 503."""

    KINDS = ("500", "503", "slow", "timeout", "lost", "partial", "conflict")

    def __init__(self, seed=1):
        self.objects, self.uploads = {}, {}
        self.faults, self.down = {}, False
        self.struck = {}
        self.lock = threading.Lock()
        self.rng = random.Random(seed)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def environment(self):
        """What the client is to be told."""
        return {
            "AWS_ENDPOINT": self.url,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def fault(self):
        """What happens to this request, if anything."""
        if self.down:
            return self._count("503")
        with self.lock:
            roll = self.rng.random()
        for kind, part in self.faults.items():
            if roll < part:
                return self._count(kind)
            roll -= part
        return None

    def _count(self, kind):
        with self.lock:
            self.struck[kind] = self.struck.get(kind, 0) + 1
        return kind

    def close(self):
        self.server.shutdown()


def _etag(data):
    return f'"{hashlib.md5(data).hexdigest()}"'


def _handler(bucket):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def _key(self):
            url = urllib.parse.urlsplit(self.path)
            query = urllib.parse.parse_qs(url.query, keep_blank_values=True)
            path = urllib.parse.unquote(url.path).lstrip("/")
            return path.removeprefix(NAME).lstrip("/"), {key: values[0] for key, values in query.items()}

        def _body(self):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _answer(self, status, body=b"", headers=None, partial=False):
            if self.lose:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            if not (headers and "Content-Length" in headers):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[: len(body) // 2] if partial else body)
            if partial:
                self.close_connection = True

        def _error(self, status, code):
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
            self._answer(status, body, {"Content-Type": "application/xml"})

        def _faulty(self):
            """Whether the request has been dealt with by a fault."""
            self.lose = self.cut = False
            kind = bucket.fault()
            if kind == "500":
                self._error(500, "InternalError")
            elif kind == "503":
                self._error(503, "SlowDown")
            elif kind == "timeout":
                time.sleep(35)
                self.close_connection = True
            elif kind == "conflict" and self.command == "PUT" and self.headers.get("If-None-Match"):
                # Another writer of the same name is under way: not done, to be tried again.
                self._error(409, "ConditionalRequestConflict")
            else:
                if kind == "slow":
                    time.sleep(1.5)
                # Done, but the answer does not arrive; or only half of it does.
                self.lose, self.cut = kind == "lost", kind == "partial"
                return False
            return True

        def do_PUT(self):
            body = self._body()
            if self._faulty():
                return
            key, query = self._key()
            with bucket.lock:
                if "uploadId" in query:
                    bucket.uploads[query["uploadId"]][int(query["partNumber"])] = body
                elif self.headers.get("If-None-Match") == "*" and key in bucket.objects:
                    return self._error(412, "PreconditionFailed")
                elif (wanted := self.headers.get("If-Match")) and _etag(bucket.objects.get(key, b"")) != wanted:
                    return self._error(412, "PreconditionFailed")
                else:
                    bucket.objects[key] = body
            self._answer(200, headers={"ETag": _etag(body)})

        def do_POST(self):
            body = self._body()
            if self._faulty():
                return
            key, query = self._key()
            with bucket.lock:
                if "uploads" in query:
                    upload = f"upload-{len(bucket.uploads) + 1}"
                    bucket.uploads[upload] = {}
                    answer = f"<InitiateMultipartUploadResult><Bucket>{NAME}</Bucket><Key>{key}</Key><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
                elif "uploadId" in query:
                    parts = bucket.uploads.get(query["uploadId"])
                    if parts is None:
                        return self._error(404, "NoSuchUpload")
                    if self.headers.get("If-None-Match") == "*" and key in bucket.objects:
                        return self._error(412, "PreconditionFailed")
                    bucket.objects[key] = b"".join(parts[number] for number in sorted(parts))
                    tag = xml.sax.saxutils.escape(_etag(bucket.objects[key]))
                    answer = f"<CompleteMultipartUploadResult><Key>{key}</Key><ETag>{tag}</ETag></CompleteMultipartUploadResult>"
                elif "delete" in query:
                    names = [part.split("</Key>")[0] for part in body.decode().split("<Key>")[1:]]
                    for name in names:
                        bucket.objects.pop(xml.sax.saxutils.unescape(name), None)
                    answer = "<DeleteResult>" + "".join(f"<Deleted><Key>{name}</Key></Deleted>" for name in names) + "</DeleteResult>"
                else:
                    return self._error(400, "InvalidRequest")
            self._answer(200, answer.encode(), {"Content-Type": "application/xml"})

        def do_DELETE(self):
            if self._faulty():
                return
            key, query = self._key()
            with bucket.lock:
                if "uploadId" in query:
                    bucket.uploads.pop(query["uploadId"], None)
                else:
                    bucket.objects.pop(key, None)
            self._answer(204)

        def do_GET(self):
            if self._faulty():
                return
            key, query = self._key()
            if not key:
                return self._list(query)
            with bucket.lock:
                data = bucket.objects.get(key)
            if data is None:
                return self._error(404, "NoSuchKey")
            headers = {"ETag": _etag(data), "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "Accept-Ranges": "bytes"}
            wanted = self.headers.get("Range")
            if not wanted:
                return self._answer(200, data, {**headers, "Content-Length": str(len(data))}, partial=self.cut)
            first, last = wanted.removeprefix("bytes=").split("-")
            first, last = (int(first), int(last) if last else len(data) - 1) if first else (len(data) - int(last), len(data) - 1)
            last = min(last, len(data) - 1)
            if first > last:
                return self._error(416, "InvalidRange")
            part = data[first : last + 1]
            headers |= {"Content-Range": f"bytes {first}-{last}/{len(data)}", "Content-Length": str(len(part))}
            self._answer(206, part, headers, partial=self.cut)

        do_HEAD = do_GET

        def _list(self, query):
            prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
            after = query.get("continuation-token") or query.get("start-after") or ""
            limit = int(query.get("max-keys", 1000))
            with bucket.lock:
                names = sorted(name for name in bucket.objects if name.startswith(prefix) and name > after)
                sizes = {name: (len(bucket.objects[name]), _etag(bucket.objects[name])) for name in names}
            folders = set()
            if delimiter:
                deep = [name for name in names if delimiter in name[len(prefix) :]]
                folders = {prefix + name[len(prefix) :].split(delimiter)[0] + delimiter for name in deep}
                names = [name for name in names if name not in set(deep)]
            more, names = len(names) > limit, names[:limit]
            escape = xml.sax.saxutils.escape
            items = "".join(
                f"<Contents><Key>{escape(name)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{escape(sizes[name][1])}</ETag>"
                f"<Size>{sizes[name][0]}</Size><StorageClass>STANDARD</StorageClass></Contents>"
                for name in names
            )
            items += "".join(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in sorted(folders))
            token = f"<NextContinuationToken>{escape(names[-1])}</NextContinuationToken>" if more else ""
            text = f"<?xml version='1.0'?><ListBucketResult><Name>{NAME}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(names)}</KeyCount>"
            text += f"<MaxKeys>{limit}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>{items}{token}</ListBucketResult>"
            self._answer(200, text.encode(), {"Content-Type": "application/xml"}, partial=self.cut)

    return Handler
