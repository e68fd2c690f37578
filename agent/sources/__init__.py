"""Where acquisitions are heard: the hook's journal and watched folders."""
