"""A console proxy: virtual machines' VNC screens in the browser."""

__version__ = "0.1.0.dev0"
