"""What the suites against Apache Kafka share: brokers, the engine as a child process, topics, a ledger of what went in."""
