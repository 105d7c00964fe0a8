"""Apache Flink: its jars, a cluster on this machine, and running a pipeline on one."""
