#!/usr/bin/env bash
# The tools that people use, against the broker at HOST:PORT: Kafka's console tools, and kcat where it is installed
# (or named by KCAT). Each check compares what a tool prints. Prints one line per check and a last line with counts.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
address=${1:?which broker? host:port}
run=tools-$(date +%s)-$$
kcat=${KCAT:-$(command -v kcat || command -v kafkacat || true)}
passed=0
failed=0

tool() { timeout 60 "$here/kafka.sh" tool "$@" 2> /dev/null; }

# check WHAT EXPECTED FOUND: FOUND must contain EXPECTED.
check() {
  if [[ "$3" == *"$2"* ]]; then
    passed=$((passed + 1))
    echo "check $1 ... ok"
  else
    failed=$((failed + 1))
    printf 'check %s ... FAILED\nexpected: %s\nfound: %s\n' "$1" "$2" "$3"
  fi
}

lines() { seq "$1" "$2" | sed 's/^/line /'; }

server=(--bootstrap-server "$address")
check "a topic is created" "Created topic $run" "$(tool TopicCommand "${server[@]}" --create --topic "$run" --partitions 2)"
check "it is described" "PartitionCount: 2" "$(tool TopicCommand "${server[@]}" --describe --topic "$run")"
lines 1 20 | tool ConsoleProducer "${server[@]}" --topic "$run" > /dev/null
check "its offsets are told" 20 "$(tool GetOffsetShell "${server[@]}" --topic "$run" | awk -F: '{ sum += $3 } END { print sum }')"
check "a group reads it" "$(lines 1 20 | sort)" \
  "$(tool consumer.ConsoleConsumer "${server[@]}" --topic "$run" --from-beginning --max-messages 20 --group "$run-group" | sort)"
check "the group is listed" "$run-group" "$(tool consumer.group.ConsumerGroupCommand "${server[@]}" --list)"
check "the group has no lag" "lag 0" \
  "lag $(tool consumer.group.ConsumerGroupCommand "${server[@]}" --describe --group "$run-group" | awk -v topic="$run" '$2 == topic { sum += $6 } END { print sum }')"
check "its offsets are reset" "$run" \
  "$(tool consumer.group.ConsumerGroupCommand "${server[@]}" --group "$run-group" --topic "$run" --reset-offsets --to-earliest --execute)"
check "it reads again" "$(lines 1 20 | sort)" \
  "$(tool consumer.ConsoleConsumer "${server[@]}" --topic "$run" --max-messages 20 --group "$run-group" | sort)"
check "the group is deleted" "was successful" \
  "$(tool consumer.group.ConsumerGroupCommand "${server[@]}" --delete --group "$run-group")"
check "transactions are listed" "TransactionalId" "$(tool TransactionsCommand "${server[@]}" list)"
check "log folders are told" "$run-0" "$(tool LogDirsCommand "${server[@]}" --describe --topic-list "$run")"
check "partitions are added" "PartitionCount: 3" \
  "$(tool TopicCommand "${server[@]}" --alter --topic "$run" --partitions 3; tool TopicCommand "${server[@]}" --describe --topic "$run")"

if [ -n "$kcat" ]; then
  for codec in none gzip snappy lz4 zstd; do
    topic=$run-kcat-$codec
    lines 1 1000 | "$kcat" -b "$address" -P -t "$topic" -z "$codec" 2> /dev/null
    check "kcat: $codec there and back" "$(lines 1 1000)" "$("$kcat" -b "$address" -C -t "$topic" -o beginning -e -q)"
  done
  check "kcat: metadata" "topic \"$run\" with 3 partitions" "$("$kcat" -b "$address" -L)"
  check "kcat: a key and a header" "k=v h=1" \
    "$(echo k:v | "$kcat" -b "$address" -P -t "$run-kcat-key" -K: -H h=1; "$kcat" -b "$address" -C -t "$run-kcat-key" -o beginning -e -q -f '%k=%s %h')"
  check "kcat: an offset by time" "[0] offset 0" "$("$kcat" -b "$address" -Q -t "$run-kcat-none:0:1")"
  check "kcat: a transaction" "$(lines 1 10)" \
    "$(lines 1 10 | "$kcat" -b "$address" -P -t "$run-kcat-tx" -X "transactional.id=$run" 2> /dev/null; "$kcat" -b "$address" -C -t "$run-kcat-tx" -o beginning -e -q -X isolation.level=read_committed)"
  check "kcat: a balanced group" "$(lines 1 1000)" \
    "$(timeout 30 "$kcat" -b "$address" -q -G "$run-kcat-group" -c 1000 -X auto.offset.reset=earliest "$run-kcat-lz4" 2> /dev/null)"
fi
check "the topic is deleted" "gone" \
  "$(tool TopicCommand "${server[@]}" --delete --topic "$run"; sleep 1; tool TopicCommand "${server[@]}" --list | grep -qx "$run" || echo gone)"
echo "tools: $passed passed; $failed failed"
[ "$failed" = 0 ]
