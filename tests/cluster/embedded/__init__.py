"""A real Kubernetes on this machine, in a network namespace of its own. Standard library only.

    commandline → lifecycle → control_plane, node → processes, network → layout
                → images    → base_image, buildah
                → tools     → packages

Everything on the right is ignorant of what is on its left; `progress` and `errors` serve all.
"""
