"""An executor that remembers what it was given."""

from concurrent.futures import ThreadPoolExecutor


class Counting(ThreadPoolExecutor):
    """Remembers what it is given."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.given = []

    def submit(self, *arguments, **more):
        self.given.append(super().submit(*arguments, **more))
        return self.given[-1]
