"""The cluster: how it is reached, releases, workloads, what is watched, and pull secrets."""
