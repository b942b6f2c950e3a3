"""Makes a bucket in the server at AWS_ENDPOINT_URL, once it answers."""

import sys
import time

import boto3
from botocore.exceptions import EndpointConnectionError

store = boto3.client("s3")
for attempt in range(100):
    try:
        where = {"LocationConstraint": store.meta.region_name}
        store.create_bucket(Bucket=sys.argv[1], CreateBucketConfiguration=where)
        break
    except EndpointConnectionError:
        time.sleep(0.1)
else:
    sys.exit("the S3 server does not answer")
