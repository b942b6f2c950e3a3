#!/usr/bin/env bash
# A real Apache Kafka, one KRaft node on a free loopback port, from the jars of Maven Central (Java 17).
#
#   kafka.sh start DIR    gets the jars, formats DIR, starts the broker; prints its host:port when it answers
#   kafka.sh stop DIR     ends the process that `start` began, by its id
#   kafka.sh jars                gets the jars; prints them as a class path
#   kafka.sh tool NAME ARGS...   runs a console tool, such as ConsoleConsumer or consumer.group.ConsumerGroupCommand
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=${KAFKA_CONFORMANCE_TARGET:-$here/target}

jars() {
  if [ ! -e "$target/jars/complete" ]; then
    mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$target/jars" >&2
    touch "$target/jars/complete"
  fi
  echo "$target/jars/*"
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 10000))
    listening "$port" || { echo "$port"; return; }
  done
}

start() {
  local dir=$1 classpath port controller
  classpath=$(jars)
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  port=$(free_port)
  controller=$(free_port)
  cat > "$dir/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/log
num.partitions=1
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1
EOF
  local uuid
  uuid=$(java -cp "$classpath" kafka.tools.StorageTool random-uuid 2> /dev/null)
  java -cp "$classpath" kafka.tools.StorageTool format -t "$uuid" -c "$dir/server.properties" > "$dir/format.out" 2>&1
  nohup java -Xmx768m -XX:+UseSerialGC -cp "$classpath" kafka.Kafka "$dir/server.properties" > "$dir/server.out" 2>&1 < /dev/null &
  local pid=$!
  echo "$pid" > "$dir/pid"
  for _ in $(seq 600); do
    if ! kill -0 "$pid" 2> /dev/null; then
      tail -n 20 "$dir/server.out" >&2
      echo "Apache Kafka ended while it was starting; see $dir/server.out" >&2
      exit 1
    fi
    if grep -q 'Kafka Server started' "$dir/server.out" && listening "$port"; then
      echo "127.0.0.1:$port"
      return
    fi
    sleep 0.1
  done
  echo "Apache Kafka did not start within a minute; see $dir/server.out" >&2
  stop "$dir"
  exit 1
}

stop() {
  local pid
  pid=$(cat "$1/pid")
  kill "$pid" 2> /dev/null || true
  for _ in $(seq 100); do
    kill -0 "$pid" 2> /dev/null || return 0
    sleep 0.1
  done
  kill -9 "$pid" 2> /dev/null || true
}

tool() {
  local name=$1
  shift
  java -cp "$(jars)" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn "org.apache.kafka.tools.$name" "$@"
}

case "${1:-}" in
  start | stop) "$1" "${2:?which folder?}" ;;
  jars) jars ;;
  tool) shift; tool "$@" ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
