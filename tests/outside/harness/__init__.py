# SPDX-License-Identifier: MIT
"""What the tests from outside share: the program as a process, clients on raw sockets, databases
and migrations, and the applications of tests/apps."""
