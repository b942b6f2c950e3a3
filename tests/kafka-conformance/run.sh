#!/usr/bin/env bash
# Runs the conformance suite: librdkafka's part (crates/broker/tests/conformance), the Java part, and the console
# tools, each against the embedded broker and against Apache Kafka. Prints the failures and a table of counts; ends with 1 when anything failed.
# Then the pipelines (pipelines.sh), for which the binary must be built. Needs Java 17, Maven and Python 3.11. `run.sh embedded` or `run.sh kafka`
# tests one broker only, and no pipelines.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export KAFKA_CONFORMANCE_TARGET=${KAFKA_CONFORMANCE_TARGET:-$here/target}
work=$(mktemp -d)
embedded_pid=
kafka_dir=
failed=0
table=()

finish() {
  [ -n "$embedded_pid" ] && kill -INT "$embedded_pid" 2> /dev/null
  [ -n "$kafka_dir" ] && "$here/kafka.sh" stop "$kafka_dir"
  rm -rf "$work"
}
trap finish EXIT

build() {
  (cd "$root" && cargo build -q -p millstream-broker --example broker && cargo test -q -p millstream-broker --test conformance --no-run) || exit 1
  (cd "$root" && cargo build -p millstream-broker --example broker --message-format json 2> /dev/null) \
    | grep -o '"executable":"[^"]*examples/broker"' | cut -d'"' -f4 > "$work/broker"
  "$here/kafka.sh" jars > "$work/classpath" || exit 1
  mkdir -p "$KAFKA_CONFORMANCE_TARGET/classes"
  javac --release 17 -cp "$(cat "$work/classpath")" -d "$KAFKA_CONFORMANCE_TARGET/classes" \
    "$here/src/main/java/millstream/Conformance.java" || exit 1
  cp "$here"/src/main/resources/* "$KAFKA_CONFORMANCE_TARGET/classes/"
}

# suite NAME ADDRESS: all clients against one broker.
suite() {
  local name=$1 address=$2 line
  (cd "$root" && KAFKA_BOOTSTRAP_SERVERS=$address cargo test -q -p millstream-broker --test conformance) \
    > "$work/rust.out" 2>&1 || { failed=1; grep -v '^%' "$work/rust.out" | tail -n 60; }
  line=$(grep '^test result' "$work/rust.out" | sed 's/^test result: [A-Za-z]*\. //; s/; 0 ignored.*//')
  table+=("$(printf '%-22s %-12s %s' "$name" librdkafka "${line:-did not run}")")
  java -cp "$KAFKA_CONFORMANCE_TARGET/classes:$(cat "$work/classpath")" millstream.Conformance "$address" \
    > "$work/java.out" 2>&1 || { failed=1; grep -v ' \.\.\. ok' "$work/java.out" | tail -n 60; }
  line=$(grep '^java client:' "$work/java.out" | sed 's/^java client: //')
  table+=("$(printf '%-22s %-12s %s' "$name" java "${line:-did not run}")")
  "$here/tools.sh" "$address" > "$work/tools.out" 2>&1 || { failed=1; grep -v ' \.\.\. ok' "$work/tools.out" | tail -n 60; }
  line=$(grep '^tools:' "$work/tools.out" | sed 's/^tools: //')
  table+=("$(printf '%-22s %-12s %s' "$name" tools "${line:-did not run}")")
}

embedded() {
  "$(cat "$work/broker")" --listen 127.0.0.1:0 --dir "$work/embedded" > "$work/embedded.out" 2> "$work/embedded.err" &
  embedded_pid=$!
  for _ in $(seq 100); do
    grep -q 'millstream broker on' "$work/embedded.out" && break
    sleep 0.1
  done
  suite "embedded broker" "$(sed 's/^millstream broker on \([^ ]*\) .*/\1/' "$work/embedded.out")"
}

kafka() {
  kafka_dir=$work/kafka
  local address
  address=$("$here/kafka.sh" start "$kafka_dir") || exit 1
  suite "$(basename "$(ls "$KAFKA_CONFORMANCE_TARGET"/jars/kafka_2.13-*.jar)" .jar)" "$address"
}

build
# pipelines: the same pipeline files over both (pipelines.sh).
pipelines() {
  local line
  "$here/pipelines.sh" > "$work/pipelines.out" 2>&1 || { failed=1; grep -v '^ok ' "$work/pipelines.out" | tail -n 80; }
  line=$(grep '^pipelines:' "$work/pipelines.out" | sed 's/^pipelines: //')
  table+=("$(printf '%-22s %-12s %s' "both" pipelines "${line:-did not run}")")
}

case "${1:-both}" in
  embedded | kafka) "$1" ;;
  both) embedded; kafka; pipelines ;;
  *) sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
printf '%s\n' "${table[@]}"
exit "$failed"
