"""``python -m trio_cpvm``, and the program ``trio-cpvm``: the command line."""

from .quick_start import quick_imports


def main() -> None:
    """Run the command that the arguments name."""
    with quick_imports():
        from .cli import main as command_line
    command_line()


if __name__ == "__main__":
    main()
