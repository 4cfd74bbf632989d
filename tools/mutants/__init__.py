"""Mutation tester: small changes of the code that some unit test has to notice; docs/mutation-testing.md says how.

`mutations` finds the changes, `baseline` which tests run which line, `run` tries them in a copy, `__main__` reports.
"""
