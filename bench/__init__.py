"""Measurements of what people wait for, each beside the least that the kernel lets anybody do it in, and beside others.

    subject (attach, ports, ...)  -> Section: rows of samples, limits with what was found
    effort                        -> how often and how much
    worker                        -> programs of ours inside the hosts, so that nobody pays for nsenter
    peers/                        -> CNI, netavark, Docker: unpacked, in namespaces made for them
    report                        -> docs/benchmarks.md, of which no figure is typed by hand

Law: what is compared runs in turn in one run, and a figure is a median. Everything happens in namespaces made here.
"""
