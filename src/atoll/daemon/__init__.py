"""The one main that wires everything by hand: arguments in, a served engine out.

Law: no networking of its own and no decisions; it makes the parts, hands them to each other, and ends them.
"""
