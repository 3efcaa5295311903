"""Cohorts: what a case costs besides its registration, and what becomes of cases when something dies."""
