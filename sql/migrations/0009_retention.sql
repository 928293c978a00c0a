-- oldest program: 0.1
-- What goes by itself is found by its age, whatever else the tables hold.

create index refresh_tokens_expiry on refresh_tokens (expires_at);
create index sessions_expiry on sessions (expires_at);
create index sessions_revoked on sessions (revoked_at) where revoked_at is not null;
create index login_events_age on login_events (created_at);
create index login_events_failed on login_events (user_id, id desc) where event = 'login_failed';
create index login_events_other on login_events (user_id, id desc) where event <> 'login_failed';

-- Where an account is known: a site of IPv6 gives its machines other addresses every day.
create index login_events_near on login_events (
    user_id, (case when ip like '%:%' then network(set_masklen(ip::inet, 64)) end)
) where event = 'login_ok';
