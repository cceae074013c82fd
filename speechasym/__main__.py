"""`python -m speechasym`."""

from speechasym.cli.main import command

if __name__ == "__main__":
    command()
