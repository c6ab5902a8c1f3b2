"""Small recurrent robot policies: training, evaluation and the `vand-robot` command."""


def __getattr__(name: str) -> str:
    """Look up what is costly to import only when somebody asks for it."""
    if name == "__version__":
        from vand_demos.system.version import software_version  # noqa: PLC0415  (see above)

        return software_version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
