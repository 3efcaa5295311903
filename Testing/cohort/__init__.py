"""Cohorts: tables of cases, what runs them, what is left of them."""
