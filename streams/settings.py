"""Every setting; the only module that reads the environment.

A setting comes from, strongest first: an environment variable `FRESHET_<NAME>`, the TOML file that
`FRESHET_FILE` names, the default below.  An unknown or invalid one is refused by name, at start.

    >>> Settings(partitions=6).partitions
    6
"""

import os
import sys
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from socket import gethostname
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from models.catalog import Kept
from models.registry import GENERATORS, RANKERS, default_weights
from streams import setting_types as types
from streams.errors import USAGE, UserError

PREFIX = "FRESHET_"
FILE = "FRESHET_FILE"
ENVIRONMENT: Mapping[str, str] = os.environ


class Settings(BaseSettings):
    """The settings of a process, read at start; `freshet settings` prints them, with the origin of each."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", allow_inf_nan=False)

    # Kafka
    brokers: types.Brokers = Field(
        "127.0.0.1:9092", description="Kafka bootstrap servers, host:port[,host:port]"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how both Kafka clients connect"
    )
    ssl_ca_file: Path | None = Field(None, description="PEM of the authority that signed the brokers")
    ssl_cert_file: Path | None = Field(None, description="PEM of the client's certificate")
    ssl_key_file: Path | None = Field(None, description="PEM of the client's key")
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    embedded: bool = Field(
        False, description="whether the broker is librdkafka's mock cluster, for the demo and tests"
    )

    # Topics
    topic_prefix: str = Field(
        "", max_length=100, pattern=r"^[A-Za-z0-9._-]*$", description="prefix of every topic name"
    )
    partitions: int = Field(
        12, ge=1, le=1000, description="partitions of events, recommendations, examples, dead-letter"
    )
    replication: int = Field(1, ge=1, le=9, description="replicas of each topic; 3 in production")
    events_retention_h: float = Field(168, gt=0, description="hours for which events are kept")
    examples_retention_h: float = Field(168, gt=0, description="hours for which examples are kept")
    dead_letter_retention_h: float = Field(720, gt=0, description="hours for which dead letters are kept")

    # Events
    event_weights: dict[str, Annotated[float, Field(ge=0, le=100)]] = Field(
        default={
            "click": 1.0, "view": 1.0, "purchase": 1.0, "cart": 1.0, "favorite": 1.0, "rating": 1.0,
            "impression": 0.0, "request": 0.0,
        },
        description="how much an event of each type teaches; 0: not learnt, and not part of the history",
    )  # fmt: skip
    unknown_event_weight: float = Field(
        1.0, ge=0, le=100, description="weight of a type that event_weights does not list"
    )
    accept_unknown_types: bool = Field(
        True, description="whether types that event_weights does not list are accepted; else: dead letters"
    )
    unanswered_types: frozenset[str] = Field(
        frozenset({"impression"}), description="event types that cause no recommendation"
    )
    max_event_bytes: int = Field(65_536, ge=256, le=10_000_000, description="larger events are dead letters")
    max_ahead_s: float = Field(
        300, ge=0, description="seconds; an event stamped further ahead of its arrival gets that as time"
    )
    grace_s: float = Field(3600, ge=0, description="seconds; younger late events are put in their place")

    # Users
    session_gap_s: float = Field(1800, gt=0, description="seconds of inactivity that end a session")
    history_length: int = Field(50, ge=1, le=1000, description="events kept of a user")
    dedupe_events: int = Field(
        128, ge=1, le=10_000, description="event ids remembered of a user, to drop duplicates"
    )

    # Recommendations
    list_length: int = Field(20, ge=1, le=200, description="items in a recommendation")
    list_latest: bool = Field(False, description="whether the user's latest item may be in the list")
    answer_all_within_s: float = Field(
        30, ge=0,
        description="seconds; an event that waited longer for a worker is answered only if it is its user's"
        " latest in the micro-batch; 0: every event is answered",
    )  # fmt: skip
    answer_none_after_s: float = Field(
        0, ge=0,
        description="seconds; an event that waited longer for a worker is applied and not answered, so that"
        " recommendations stay young behind a backlog; 0: the latest of each user always is",
    )  # fmt: skip
    unlisted_items: Literal["hide", "show"] = Field(
        "hide", description="items that are not in the catalog, once there is one"
    )
    rules: types.RuleSettings = Field(
        ({"rule": "one-of-group"}, {"rule": "hidden"}, {"rule": "adult"}),
        description='what is changed in ranked lists, in this order: [{"rule": "at-most", "of": "brand"}]',
    )
    placements: types.PlacementSettings = Field(
        {}, description='named lists beside the default one: {"basket": {"start": "cart", "list_length": 5}}'
    )
    recommender: Literal["model", "constant"] = Field(
        "model", description="constant: a fixed list, to measure the plumbing alone"
    )

    # Model
    generators: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default=default_weights(),
        description="candidate generators of the model, and the weight of each in the blend",
    )
    ranker: str = Field(
        "mlp", description="orders the candidates, learnt online; blend: their weighted sum, not learnt"
    )
    rank_every: int = Field(
        2, ge=1, le=1000, description="of a backlog, rankers learn one in so many examples"
    )
    half_lives_h: dict[str, Annotated[float, Field(gt=0, le=1e6)]] = Field(
        default={}, description="half-life of events in hours, by generator, where it is not the default"
    )
    model_parameters: types.Parameters = Field(
        default={}, description='hyper-parameters by generator or ranker: {"next": {"neighbours": 32}}'
    )
    max_items: int = Field(
        1_000_000, ge=100, le=20_000_000, description="rows of item tables; least recently used items leave"
    )
    catalog_vectors: types.VectorLengths = Field(
        {}, description='length by name, of the vectors in the catalog that are used: {"image": 512}'
    )
    catalog_filters: tuple[types.AttributeName, ...] = Field(
        (), description='attributes of the catalog, or `tags`, that lists are filtered by: ["colour", "tags"]'
    )
    admit_after: int = Field(1, ge=1, le=255, description="events before an item gets a row")
    publish_interval_s: float = Field(0.5, gt=0, le=60, description="seconds between the model's checkpoints")
    frozen_twin_h: float = Field(
        24, ge=0, description="hours between refreshes of a copy that shows what freshness is worth; 0: none"
    )
    measure_every: int = Field(
        50, ge=1, le=100_000, description="one in this many examples measures the model and its parts"
    )
    learn_batch: int = Field(2000, ge=1, le=100_000, description="examples learnt at once, at most")
    seed: int = Field(0, ge=0, description="seed of all random numbers of the model")
    context_key: str = Field(
        "device", pattern=r"^[^+]{1,64}(\+[^+]{1,64}){0,3}$",
        description="context field, or several joined by +, whose best sellers strangers get; hour: of day",
    )  # fmt: skip

    # Worker
    data_dir: Path = Field(Path("data"), description="folder of the local state; each process has its own")
    worker_id: str | None = Field(
        None, pattern=r"^[A-Za-z0-9._-]+$",
        description="stable name of a worker: after a restart it gets its partitions back",
    )  # fmt: skip
    ranking_threads: int = Field(
        min(os.cpu_count() or 1, 4), ge=1, le=64, description="threads that rank a backlog, in one worker"
    )
    chunk_events: int = Field(
        1000, ge=1, le=20_000, description="events in a micro-batch of a worker, at most"
    )
    web_host: types.HostName = Field("127.0.0.1", description="address the pages listen on")
    web_port: int = Field(6066, ge=0, le=65_535, description="port the pages listen on")
    web_advertised_host: str | None = Field(
        None, description="name by which other workers reach the pages of this one; default: web_host"
    )
    web_allowed_hosts: frozenset[str] = Field(
        frozenset(), description="further Host names that requests may have, of a proxy; others get 421"
    )
    web_image_hosts: frozenset[types.HostName] = Field(
        frozenset(), description="hosts whose pictures the pages may show, by https: images.example"
    )
    web_root_path: types.RootPath = Field(
        "", description="path at which a proxy serves the pages, and which it strips: /freshet"
    )
    web_token: SecretStr | None = Field(
        None, min_length=8,
        description="token for changing settings and re-sending dead letters; without one they are refused",
    )  # fmt: skip
    session_timeout_s: float = Field(
        10, ge=6, le=300, description="seconds until Kafka reassigns the partitions of a dead worker"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _together(self) -> "Settings":
        in_placements = {g for p in self.placements.values() for g in p.get("generators") or ()}
        decaying = [name for name, row in GENERATORS.items() if row.decays]
        for name, given, known in (
            ("generators", self.generators, GENERATORS),
            ("ranker", {self.ranker}, RANKERS),
            ("half_lives_h", self.half_lives_h, decaying),
            ("model_parameters", self.model_parameters, [*GENERATORS, *RANKERS]),
            ("placements", in_placements, self.generators),
        ):
            if unknown := sorted(set(given) - set(known)):
                raise ValueError(f"{name}: unknown {', '.join(unknown)}; known: {', '.join(known)}")
        types.check_vectors(self.rules, self.placements, self.catalog_vectors)
        types.check_filters(self.placements, self.catalog_filters)
        if self.security_protocol.startswith("SASL") and not (self.sasl_username and self.sasl_password):
            raise ValueError("sasl_username, sasl_password: needed when security_protocol is SASL_*")
        return self

    @classmethod
    def settings_customise_sources(  # noqa: D102  pydantic's hook
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # `load` passes what environment and file have

    @property
    def kept(self) -> Kept:
        """What is kept of the catalog's items beside what rules read."""
        return Kept(self.catalog_vectors, self.catalog_filters)

    def topic(self, name: str) -> str:
        """The full name of a topic, with the prefix."""
        return self.topic_prefix + name

    @property
    def name(self) -> str:
        """The name of this process: its worker_id, else the address of its pages as others know it."""
        host = self.web_advertised_host or self.web_host
        if host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::"):  # noqa: S104  compared, not bound
            host = gethostname()
        return self.worker_id or f"{host}:{self.web_port}"


class BadSetting(UserError):
    """An invalid setting; the message names it and says why, on one line."""

    exit_code = USAGE


def load(environ: Mapping[str, str] = ENVIRONMENT, **overrides: Any) -> Settings:
    """The settings of this process; `BadSetting` if one is unknown or invalid."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {FILE}
    unknown = sorted(name for name in environ if name.upper().startswith(PREFIX) and name not in known)
    if unknown:
        close = get_close_matches(unknown[0].upper(), known, 1)
        meant = f"did you mean {close[0]}?" if close else "docs/operations.md has their names"
        raise BadSetting(f"unknown setting {', '.join(unknown)}: {meant}")
    file = environ.get(FILE)
    if file and not Path(file).is_file():
        raise BadSetting(f"{FILE}: there is no file {file}")
    try:
        stored = TomlConfigSettingsSource(Settings, toml_file=file)() if file else {}
        return Settings(**(stored | _from_environment(environ) | overrides))
    except ValidationError as error:
        raise BadSetting("; ".join(_explain(e) for e in error.errors(include_input=False))) from None
    except (SettingsError, tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        cause = error.__cause__
        raise BadSetting(f"{error}{f' ({cause})' if cause else ''}") from None


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value for name, value in environ.items()}  # instead of the real one
    return source()


def _explain(error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"])
    unknown = error["type"] == "extra_forbidden"
    why = "is not a setting" if unknown else error["msg"].removeprefix("Value error, ")
    return f"{name}: {why}" if name else why


def load_or_exit(**overrides: Any) -> Settings:
    """The settings of this process; exits with 2 and a line on stderr if one is invalid."""
    try:
        return load(**overrides)
    except BadSetting as error:
        print(f"freshet: {error}", file=sys.stderr)
        raise SystemExit(USAGE) from None
