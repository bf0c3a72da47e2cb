"""Published test problems with known minima."""
