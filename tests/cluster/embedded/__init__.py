"""A real Kubernetes on this machine, in a network namespace of its own. Standard library only.

commandline → lifecycle, removal, diagnosis → parts      the processes and their configuration
            → artifacts                                  programs and images, made once and cached
            → packages, api, layout, locking, progress, errors

Everything is ignorant of what is to its left and above it.
"""
