"""Operations on whole datasets: edits, which make the next generation of one; copies; what is left when both are done.

base, report      what all edits begin with, and what they tell
append, delete    other samples                                       (append_request, append_place, added_shards)
relabel, attach   other labels and fields                             (new_labels, detach)
split             which samples are in which named split
table             the label table                                       (pack_table: made while packing)
log, gc           the history, and the end of it                      (unneeded: which files go)
repair            files that are lost, again from the tars            (rebuild, repair_files, replace_broken, salvage;
                                                                       repair_plan: what is about to be done;
                                                                       table_guesses: which tars a lost table listed)
merge             several into one                                    (merge_plan: whether they fit; merge_run)
copy              to another place, byte for byte                     (copy_parts: what; copy_run: how;
                                                                       join_locations: with all tars in one folder)
"""
