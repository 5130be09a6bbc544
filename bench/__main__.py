"""`python -m bench`: measure and print a table. Needs root; works on hosts made of namespaces."""

from bench.attach import measure, table

if __name__ == "__main__":
    print(table(measure()))
