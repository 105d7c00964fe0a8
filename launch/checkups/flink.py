"""Java and the job server's jars, which only `--runner flink` needs."""

from collections.abc import Iterator

from launch.checkups.finding import Asked, Finding


def look(asked: Asked) -> Iterator[Finding]:
    """What there is of them."""
    from l3core.errors import UsageError
    from launch.flink.jars import installed
    from launch.flink.java import find_java, java_version

    only = "only --runner flink needs it"
    try:
        java = find_java()
    except UsageError as error:
        yield Finding("Java", "absent", str(error), only)
    else:
        yield Finding("Java", "ok", f"{java_version(java)}, {java}")
    jar = installed()
    if jar is None:
        yield Finding(
            "Flink", "absent", "the job server is not installed", f"{only}: l3flow flink install"
        )
    else:
        yield Finding("Flink", "ok", f"job server for Flink {jar.minor}, {jar.path}")
