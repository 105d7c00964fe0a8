"""What all schedulers are told: a command that was checked, and when it runs."""

from dataclasses import dataclass, field

from launch.schedules.when import When


@dataclass(frozen=True)
class Secrets:
    """Secrets that `--storage-option` and `--notify` name: variables of the environment, and files."""

    variables: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """Flags of `l3flow schedule` that belong to some schedulers; "" where one was not given."""

    env_file: str = ""
    log: str = ""
    user: str = ""
    volumes: tuple[tuple[str, str], ...] = ()  # (claim, path)
    image: str = ""
    secret: str = ""
    service_account: str = ""
    project: str = ""
    region: str = ""
    job: str = ""
    template: str = ""


@dataclass(frozen=True)
class Job:
    """A command to be run on a schedule.

    Attributes:
        name: of the unit, the CronJob or the DAG.
        when: it fires.
        zone: the time zone of `when`; None: the machine's.
        every: `--every` as it was given.
        executable: l3flow where it runs.
        argv: its arguments, the subcommand first.
        secrets: what it has to be given.
        written: local folders that it writes.
        read: local paths that it reads.
        options: of the scheduler.
    """

    name: str
    when: When
    zone: str | None
    every: str
    executable: str
    argv: tuple[str, ...]
    secrets: Secrets = Secrets()
    written: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)

    @property
    def title(self) -> str:
        """One line about it."""
        zone = self.zone or "the machine's time zone"
        word = self.every.removeprefix("every ")
        told = word if word.endswith("ly") or word.startswith("@") else f"every {word}"
        words = f"{told} ({self.when.cron}, {zone})"
        if self.every == self.when.cron:
            words = f"{self.every} ({zone})"
        return f"l3flow {self.argv[0]}, {words}"
