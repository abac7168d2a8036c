"""Files that a pipeline needs. They are named here and fetched by nobody: a plugin looks for them in the models folder."""

from dataclasses import dataclass, field


@dataclass
class Artifact:
    """Any file that must be there."""


@dataclass
class HuggingfaceRepoArtifact(Artifact):
    """Files of a repository."""

    repo_id: str = ""
    files: list = field(default_factory=list)


@dataclass
class GoogleDriveArtifact(Artifact):
    """A shared file."""

    file_id: str = ""
    files: list = field(default_factory=list)
    name: str = ""
