"""Files and the database."""

from dataclasses import dataclass
from pathlib import Path

from studio.settings import values
from studio.settings.folders import base_folder, bundled_folder
from studio.settings.table import setting


@dataclass(frozen=True)
class Storage:
    """Files and the database."""

    UPLOAD_FOLDER: str = setting(
        "uploads",
        values.name,
        "Folder for uploads. Relative paths start at the project folder, or at the current folder "
        "if the server was installed with pip.",
    )
    OUTPUT_FOLDER: str = setting("outputs", values.name, "Folder for results and the job database.")
    MODEL_DIR: str = setting(
        "weights", values.name, "Folder for your own weights, with one subfolder per model."
    )
    FONTS_DIR: str = setting(
        "",
        values.any_text,
        "Folder with more fonts for karaoke videos, such as those for Chinese, Japanese and "
        "Korean; empty: only the bundled fonts.",
    )
    HUB_REPOSITORIES: str = setting(
        "auto",
        values.hub_repositories,
        "Hugging Face repositories that jobs may use (hf://): a comma-separated list of "
        "NAMESPACE/NAME, * for any, empty for none; auto: any, but none under production.py.",
    )
    DATABASE_URL: str = setting(
        "", values.any_text, "SQLAlchemy URL of the job database; empty: SQLite in OUTPUT_FOLDER."
    )
    STORAGE_URL: str = setting(
        "",
        values.bucket,
        "Bucket for uploads and results, as s3://BUCKET/PREFIX; empty: UPLOAD_FOLDER and "
        "OUTPUT_FOLDER, which otherwise have only files in progress and local copies.",
    )
    STORAGE_ENDPOINT: str = setting(
        "", values.url, "URL of the S3 API of STORAGE_URL; empty: the one of AWS."
    )
    STORAGE_REGION: str = setting(
        "", values.region, "Region of STORAGE_URL; empty: from the AWS configuration."
    )
    STORAGE_CACHE_BYTES: int = setting(
        10 * 1024**3,
        values.integer(0, 2**62),
        "Local copies of files in STORAGE_URL to keep, in bytes, besides those in use.",
    )
    DOWNLOADS: str = setting(
        "proxy",
        values.one_of("proxy", "nginx"),
        "Who sends downloads from STORAGE_URL: proxy (the server) or nginx (nginx fetches them "
        "from the store; see docs/scaling.md).",
    )
    MIN_FREE_BYTES: int = setting(
        256 * 1024 * 1024,
        values.integer(0, 2**62),
        "Free disk space to preserve, in bytes; uploads, jobs and conversions that need it "
        "are rejected.",
    )
    MAX_STORED_BYTES: int = setting(
        0,
        values.integer(0, 2**62),
        "Total size of uploads, results and hub downloads, in bytes; 0: no limit.",
    )
    RETENTION_HOURS: int = setting(
        0,
        values.integer(0, 10**6),
        "Hours after which an unused upload and its results are deleted; 0: never.",
    )

    @property
    def upload_folder(self) -> Path:
        return base_folder() / self.UPLOAD_FOLDER

    @property
    def output_folder(self) -> Path:
        return base_folder() / self.OUTPUT_FOLDER

    @property
    def model_dir(self) -> Path:
        return base_folder() / self.MODEL_DIR

    @property
    def fonts_dir(self) -> Path | None:
        """The folder with more fonts."""
        return base_folder() / self.FONTS_DIR if self.FONTS_DIR else None

    @property
    def bundled_dir(self) -> Path:
        """Folder of the bundled models."""
        return bundled_folder()

    @property
    def hub_folder(self) -> Path:
        """The folder for hub repositories that jobs use."""
        return self.model_dir / ".hub"

    @property
    def hub_repositories(self) -> frozenset[str] | None:
        """The hub repositories that jobs may use; None: any."""
        if self.HUB_REPOSITORIES in ("auto", "*"):
            return None
        return frozenset(filter(None, self.HUB_REPOSITORIES.split(",")))

    @property
    def database_url(self) -> str:
        return self.DATABASE_URL or f"sqlite:///{self.output_folder / '.jobs.sqlite3'}"
