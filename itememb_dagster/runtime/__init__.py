"""How stages execute: engines, processes, threads, resources, times and memory."""
