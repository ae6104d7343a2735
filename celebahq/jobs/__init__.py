"""Long jobs that survive being killed: the job, its logs, who works on it, locks and disk."""
