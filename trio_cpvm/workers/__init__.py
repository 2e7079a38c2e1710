"""Several processes that serve consoles on the same listeners, and one that watches over them.

``supervisor`` is the process that the operator starts: it opens the listeners, answers operators, and decides whatever
consoles have to do with each other. A ``worker`` serves browsers. What the two say to each other is in ``messages``
(sans-I/O), how it gets there in ``channel``.
"""
