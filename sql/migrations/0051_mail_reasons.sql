-- oldest program: 0.1
-- Why the last mail with the link of an invitation was refused for good. The program before this one does not write it down.

alter table invitations add column mail_reason text;
