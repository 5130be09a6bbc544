"""Images and containers: OCI bundles run by runc under conmon.

Law: of networks it knows the path of a namespace, and the files in /etc that tell of them. Everything that waits is
asyncio; what works on files for long is done in threads. No string ever meets a shell.
"""
