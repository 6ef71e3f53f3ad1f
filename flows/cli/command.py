"""What every command of `waver` has in common: an empty value is a mistake."""

from typing import Any

from typer.core import TyperCommand

from storage.errors import ConfigError


class Command(TyperCommand):
    """A command that rejects empty values of its options and arguments.

    An empty value is mostly a shell variable that is not set. As a path it would mean the current
    folder: `--data "$DATA"` would read whatever is there, and `--store "$STORE"` write beside it.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line.

        Raises:
            ConfigError: an option or argument has an empty value.
        """
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        for parameter in self.get_params(ctx):
            value = given.get(parameter.name)
            values = value if isinstance(value, list | tuple) else [value]
            if any(isinstance(value, str) and not value.strip() for value in values):
                is_option = parameter.param_type_name == "option"
                name = max(parameter.opts, key=len) if is_option else parameter.metavar
                raise ConfigError(
                    f"{name} is given an empty value: give it one, or leave {name} out (a shell "
                    "variable that is not set is empty)."
                )
        return super().parse_args(ctx, args)
