#!/usr/bin/env bash
# The same pipelines with the embedded broker and with Apache Kafka (started here, Java 17): views and topics must be the same.
# Then TLS and SASL against Apache Kafka. Arguments: parts of the names of cases, --keep for the logs.
# Needs a built binary (MILLSTREAM, or target/release/millstream), Maven and Python 3.11 with venv.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec "$("$here/../faults/python")" "$here/pipelines" "$@"
