-- name: idempotency_keys -> value
-- Takes Idempotency-Keys past their 24 hours away, a batch at a time; gives how many went. A minute later: what a change under
-- way found within them is not taken from it.
with old as (
    select k.user_id, k.path, k.key from idempotency_keys as k
    where k.created_at < now() - interval '24 hours 1 minute'
    order by k.created_at limit :batch::integer
), gone as (
    delete from idempotency_keys as k using old
    where k.user_id = old.user_id and k.path = old.path and k.key = old.key returning 1
)
select count(*) from gone;

-- name: refresh_tokens -> value
-- Takes refresh tokens away, a batch at a time, that are good for nothing any more: expired ones, and those of ended sessions.
-- A used one stays until it expires, because whoever sends it is a thief or was robbed. Gives how many went.
with expired as (
    select r.token_hash from refresh_tokens as r
    where r.expires_at < now()
    order by r.expires_at limit :batch::integer
), ended as (
    select r.token_hash
    from sessions as s
    inner join refresh_tokens as r on r.session_id = s.id
    where s.revoked_at < now()
    limit :batch::integer
), old as (
    select e.token_hash from expired as e
    union
    select e.token_hash from ended as e
), gone as (
    delete from refresh_tokens as r using old where r.token_hash = old.token_hash returning 1
)
select count(*) from gone;

-- name: sessions -> value
-- Takes sessions away, a batch at a time, that expired 30 days ago or were ended a day ago, once their tokens went: so it takes
-- no more with them. Gives how many went.
with expired as (
    select s.id from sessions as s
    where s.expires_at < now() - interval '30 days' and not exists (select 1 from refresh_tokens as r where r.session_id = s.id)
    order by s.expires_at limit :batch::integer
), ended as (
    select s.id from sessions as s
    where s.revoked_at < now() - interval '1 day' and not exists (select 1 from refresh_tokens as r where r.session_id = s.id)
    order by s.revoked_at limit :batch::integer
), old as (
    select e.id from expired as e
    union
    select e.id from ended as e
), gone as (
    delete from sessions as s using old where s.id = old.id returning 1
)
select count(*) from gone;

-- name: api_keys -> value
-- Takes API keys away, a batch at a time, that were revoked or expired 30 days ago. Gives how many went.
with revoked as (
    select k.id from api_keys as k
    where k.revoked_at < now() - interval '30 days'
    order by k.revoked_at limit :batch::integer
), expired as (
    select k.id from api_keys as k
    where k.expires_at < now() - interval '30 days'
    order by k.expires_at limit :batch::integer
), gone as (
    delete from api_keys as k
    where k.id in (select r.id from revoked as r union all select e.id from expired as e) returning 1
)
select count(*) from gone;

-- name: login_events -> value
-- Takes lines of the login history away, a batch at a time: those of 400 days ago, and of those to whom the newest 2,000 lines
-- belong what is beyond the `most` newest of each, failures apart from the rest, so that nobody's failures push out where an account is known. What
-- is nobody's, because nobody has the name that was typed, counts together. Gives how many went.
with busy as (
    select distinct n.user_id
    from (select e.user_id from login_events as e order by e.id desc limit 2000) as n
), old as (
    select f.id
    from busy as b
    cross join lateral (
        select e.id from login_events as e
        where e.user_id = b.user_id and e.event = 'login_failed'
        order by e.id desc limit :batch::integer offset :most::integer
    ) as f
    union all
    select o.id
    from busy as b
    cross join lateral (
        select e.id from login_events as e
        where e.user_id = b.user_id and e.event <> 'login_failed'
        order by e.id desc limit :batch::integer offset :most::integer
    ) as o
    union all
    (
        select e.id from login_events as e
        where e.user_id is null and e.event = 'login_failed'
        order by e.id desc limit :batch::integer offset :most::integer
    )
    limit :batch::integer
), aged as (
    select e.id from login_events as e
    where e.created_at < now() - interval '400 days'
    order by e.created_at limit :batch::integer
), gone as (
    delete from login_events as e
    where e.id in (select o.id from old as o union all select a.id from aged as a) returning 1
)
select count(*) from gone;

-- name: mails -> value
-- Takes mails away, a batch at a time, that nobody took in a day: what they say is old. Gives how many went.
with old as (
    select m.id from mails as m
    where m.created_at < now() - interval '1 day'
    order by m.created_at limit :batch::integer
    for update skip locked
), gone as (
    delete from mails as m using old where m.id = old.id returning 1
)
select count(*) from gone;

-- name: password_resets -> value
-- Takes tokens for new passwords away that are over, a batch at a time; gives how many went.
with gone as (
    delete from password_resets as r
    where r.token_hash = any(array(
        select o.token_hash from password_resets as o
        where o.expires_at < now()
        order by o.expires_at limit :batch::integer
    ))
    returning 1
)
select count(*) from gone;

-- name: mfa_challenges -> value
-- Takes challenges away whose time is over, a batch at a time; gives how many went.
with gone as (
    delete from mfa_challenges as c
    where c.token_hash = any(array(
        select o.token_hash from mfa_challenges as o
        where o.expires_at < now()
        order by o.expires_at limit :batch::integer
    ))
    returning 1
)
select count(*) from gone;

-- name: reminders -> value
-- Takes reminders away, a batch at a time, of dates that nobody is reminded of any more: a week ago. Gives how many went.
with gone as (
    delete from reminders as r
    where (r.card_id, r.user_id, r.date, r.kind) in (
        select o.card_id, o.user_id, o.date, o.kind from reminders as o
        where o.date < current_date - 7
        order by o.date limit :batch::integer
    )
    returning 1
)
select count(*) from gone;

-- name: invitations -> value
-- Takes invitations away, a batch at a time, 30 days after they were over. Gives how many went.
with old as (
    select i.id from invitations as i
    where i.expires_at < now() - interval '30 days'
    order by i.expires_at limit :batch::integer
), gone as (
    delete from invitations as i using old where i.id = old.id returning 1
)
select count(*) from gone;

-- name: audit -> value
-- Takes lines of the audit of 400 days ago away, a batch at a time. Gives how many went.
with old as (
    select a.id from audit as a
    where a.at < now() - interval '400 days'
    order by a.at limit :batch::integer
), gone as (
    delete from audit as a using old where a.id = old.id returning 1
)
select count(*) from gone;

-- name: notifications -> value
-- Takes notifications away, a batch at a time: those of 90 days ago, and of those to whom the newest 2,000 belong what is beyond
-- the `most` newest of each. Gives how many went. What was told of them goes, too: see forget_told in
-- sql/changes/notifications.sql.
with busy as (
    select distinct n.user_id
    from (select n.user_id from notifications as n order by n.id desc limit 2000) as n
), old as (
    select o.id
    from busy as b
    cross join lateral (
        select n.id from notifications as n
        where n.user_id = b.user_id
        order by n.id desc limit :batch::integer offset :most::integer
    ) as o
    limit :batch::integer
), aged as (
    select n.id from notifications as n
    where n.created_at < now() - interval '90 days'
    order by n.created_at limit :batch::integer
), gone as (
    delete from notifications as n
    where n.id in (select o.id from old as o union all select a.id from aged as a)
    returning 'user:' || n.user_id as channel, entity(notified_of(n), 'notification', n.id) as told_of
)
select forget_told(array_agg(g.channel), array_agg(g.told_of)) from gone as g;

-- name: conversation_messages -> value
-- Takes the messages of conversations that everybody left away, a batch at a time, with what stands under them. Gives how many
-- went.
with old as (
    select m.id
    from conversations as c
    inner join conversation_messages as m on m.conversation_id = c.id
    where c.emptied_at is not null
    limit :batch::integer
), reacted as (
    delete from message_reactions as r using old where r.owner_type = 'conv_message' and r.owner_id = old.id
), attached as (
    delete from attachments as a using old where a.owner_type = 'conv_message' and a.owner_id = old.id
), gone as (
    delete from conversation_messages as m using old where m.id = old.id returning 1
)
select count(*) from gone;

-- name: conversations -> value
-- Takes conversations away, a batch at a time, that everybody left, once what was said there went. Gives how many went. Their
-- pictures are locked first, in the order of all who change some.
with old as (
    select c.id, substring(c.avatar from '^/avatars/([0-9a-f]{64})[.]webp$') as picture from conversations as c
    where
        c.emptied_at is not null
        and not exists (select 1 from conversation_messages as m where m.conversation_id = c.id)
    limit :batch::integer
), held as (
    select a.sha256 from avatars as a where a.sha256 = any(array(select old.picture from old)) order by a.sha256 for no key update
), gone as (
    delete from conversations as c using old where c.id = old.id and (select count(*) from held) is not null returning 1
)
select count(*) from gone;

-- name: attachments -> value
-- Takes files away, a batch at a time, that nothing has 24 hours after they came. Gives how many went.
with old as (
    select a.id from attachments as a
    where a.owner_type is null and a.created_at < now() - interval '24 hours'
    order by a.created_at limit :batch::integer
    for update skip locked
), gone as (
    delete from attachments as a using old where a.id = old.id returning 1
)
select count(*) from gone;

-- name: avatars -> value
-- Takes pictures away, a batch at a time, that nobody has shown for a day. Gives how many went. Locked, so that one stays that
-- somebody shows in this moment.
with old as (
    select a.sha256 from avatars as a
    where
        a.left_at < now() - interval '1 day'
        and not exists (select 1 from users as u where u.avatar_url = '/avatars/' || a.sha256 || '.webp')
        and not exists (select 1 from conversations as c where c.avatar = '/avatars/' || a.sha256 || '.webp')
    order by a.left_at limit :batch::integer
    for update skip locked
), gone as (
    delete from avatars as a using old where a.sha256 = old.sha256 returning 1
)
select count(*) from gone;

-- name: webhook_deliveries -> value
-- Takes deliveries to webhooks away, a batch at a time, that came 7 days ago, and a minute later: what one under way found is not
-- taken from it. Gives how many went.
with old as (
    select d.id from webhook_deliveries as d
    where d.received_at < now() - interval '7 days 1 minute'
    order by d.received_at limit :batch::integer
), gone as (
    delete from webhook_deliveries as d using old where d.id = old.id returning 1
)
select count(*) from gone;

-- name: webhooks -> value
-- Takes webhooks away that were deleted, a batch at a time, once their last delivery went. Gives how many went.
with old as (
    select w.id from project_webhooks as w
    where w.deleted_at is not null and not exists (select 1 from webhook_deliveries as d where d.webhook_id = w.id)
    limit :batch::integer
), gone as (
    delete from project_webhooks as w using old where w.id = old.id returning 1
)
select count(*) from gone;
