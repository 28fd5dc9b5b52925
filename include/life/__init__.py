"""The life of an alert: chains of findings, groups, who is told and when it is over. Pure; no database, no clock."""
