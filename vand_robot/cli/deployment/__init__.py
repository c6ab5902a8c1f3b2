"""Commands that take a policy away: export, deploy, serve."""
