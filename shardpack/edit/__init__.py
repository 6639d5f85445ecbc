"""Operations on whole datasets: copy one, and describe one with all its tars in one folder."""
