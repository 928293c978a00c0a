-- name: connection_limit -> value, by key
-- How many connections ordinary users may have at once.
select current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer;

-- name: parameters -> many, by key
-- The values that these parameters have for this connection, in their own units.
select lower(s.name) as name, s.setting from pg_settings as s where lower(s.name) = any(:names::text[]);

-- name: serving -> many, by key
-- The versions of the programs that serve this database, wherever: each asks it all the time. One that asked nothing for a minute
-- is gone.
select distinct substr(a.application_name, length('warmdesk ') + 1) as version
from pg_stat_activity as a
where a.datname = current_database() and a.application_name ~ '^warmdesk [0-9]'
    and greatest(a.query_start, a.state_change) > clock_timestamp() - interval '1 minute';

-- name: faults -> many
-- What must not be, each as a sentence: feeds with a hole or an end that is not their head, equal positions, numbers beyond
-- their counter, parts that belong to another project than their whole, projects without an owner, counts that miscount.
with numbered as (
    select e.channel, count(*) as n, min(e.seq) as least, max(e.seq) as most from events as e group by e.channel
)
select format('feed %s: %s events from %s to %s, but it should hold %s to %s',
    f.channel, coalesce(n.n, 0), coalesce(n.least::text, '-'), coalesce(n.most::text, '-'), f.oldest, f.seq) as fault
from feeds as f
left join numbered as n on n.channel = f.channel
where
    f.oldest < 1 or f.oldest > f.seq + 1 or coalesce(n.n, 0) <> f.seq - f.oldest + 1
    or (n.n is not null and (n.least <> f.oldest or n.most <> f.seq))
union all
select format('feed %s: has events but no head', n.channel)
from numbered as n
where not exists (select 1 from feeds as f where f.channel = n.channel)
union all
select format('column %s: %s cards at position %s', c.column_id, count(*), c.position)
from cards as c
where c.deleted_at is null and c.archived_at is null
group by c.column_id, c.position having count(*) > 1
union all
select format('project %s: %s columns at position %s', c.project_id, count(*), c.position)
from columns as c
where c.deleted_at is null
group by c.project_id, c.position having count(*) > 1
union all
select format('project %s: card number %s is beyond the counter %s', p.slug, max(c.card_number), p.card_counter)
from projects as p
inner join cards as c on c.project_id = p.id
group by p.id having max(c.card_number) > p.card_counter
union all
select format('card %s: its column %s is in another project', c.id, c.column_id)
from cards as c
inner join columns as k on k.id = c.column_id
where k.project_id <> c.project_id
union all
select format('card %s: its column %s is deleted', c.id, c.column_id)
from cards as c
inner join columns as k on k.id = c.column_id
where c.deleted_at is null and k.deleted_at is not null
union all
select format('card %s: its label %s is in another project', t.card_id, t.label_id)
from card_labels as t
inner join cards as c on c.id = t.card_id
inner join labels as l on l.id = t.label_id
where l.project_id <> c.project_id
union all
select format('history %s: its card %s is in another project', h.id, h.card_id)
from card_history as h
inner join cards as c on c.id = h.card_id
where h.project_id <> c.project_id
union all
select format('comment %s: its card %s is in another project', m.id, m.card_id)
from card_comments as m
inner join cards as c on c.id = m.card_id
where m.project_id <> c.project_id
union all
select format('time entry %s: its card %s is in another project', t.id, t.card_id)
from time_entries as t
inner join cards as c on c.id = t.card_id
where t.project_id <> c.project_id
union all
select format('comment %s: says %s minutes, but its entry %s', m.id, m.time_spent_minutes, coalesce(t.minutes, 0))
from card_comments as m
left join time_entries as t on t.comment_id = m.id
where m.deleted_at is null and m.time_spent_minutes <> coalesce(t.minutes, 0)
union all
select format('reaction %s: its message %s is gone', r.id, r.owner_id)
from message_reactions as r
where
    (r.owner_type = 'chat_message' and not exists (select 1 from chat_messages as m where m.id = r.owner_id))
    or (r.owner_type = 'conv_message' and not exists (select 1 from conversation_messages as m where m.id = r.owner_id))
union all
select format('card %s: counts %s comments, but has %s', c.id, c.comment_count, count(m.id))
from cards as c
left join card_comments as m on m.card_id = c.id and m.deleted_at is null
group by c.id having count(m.id) <> c.comment_count
union all
select format('card %s: counts %s of %s items, but has %s of %s', c.id, c.checklist_done, c.checklist_total,
    count(i.id) filter (where i.is_completed), count(i.id))
from cards as c
left join card_checklist_items as i on i.card_id = c.id
group by c.id
having count(i.id) <> c.checklist_total or count(i.id) filter (where i.is_completed) <> c.checklist_done
union all
select format('card %s: tells %s minutes, but has %s', c.id, c.time_spent_minutes, c.manual_minutes + coalesce(sum(t.minutes), 0))
from cards as c
left join time_entries as t on t.card_id = c.id
group by c.id having c.manual_minutes + coalesce(sum(t.minutes), 0) <> c.time_spent_minutes
union all
select format('card %s: counts %s files, but has %s', c.id, c.attachment_count, count(a.id))
from cards as c
left join attachments as a on a.owner_type = 'card' and a.owner_id = c.id
group by c.id having count(a.id) <> c.attachment_count
union all
select format('attachment %s: its card %s is in another project', a.id, a.card_id)
from attachments as a
inner join cards as c on c.id = a.card_id
where a.project_id <> c.project_id
union all
select format('attachment %s: its %s %s is gone', a.id, a.owner_type, a.owner_id)
from attachments as a
where
    (
        a.owner_type = 'card_comment'
        and not exists (select 1 from card_comments as m where m.id = a.owner_id and m.deleted_at is null)
    )
    or (
        a.owner_type = 'chat_message'
        and not exists (select 1 from chat_messages as m where m.id = a.owner_id and not m.is_deleted)
    )
    or (
        a.owner_type = 'conv_message'
        and not exists (select 1 from conversation_messages as m where m.id = a.owner_id and not m.is_deleted)
    )
union all
select format('reply %s: its topic %s is in another project', r.id, r.topic_id)
from topic_replies as r
inner join topics as t on t.id = r.topic_id
where t.project_id <> r.project_id
union all
select format('topic %s: counts %s replies, but has %s', t.id, t.reply_count, count(r.id))
from topics as t
left join topic_replies as r on r.topic_id = t.id and r.deleted_at is null
group by t.id having count(r.id) <> t.reply_count
union all
select format('project %s: has no owner', p.slug)
from projects as p
where p.purged_at is null and not exists (select 1 from project_members as m where m.project_id = p.id and m.role = 'owner')
union all
select 'users: nobody is an administrator'
where
    exists (select 1 from users as u where u.deleted_at is null)
    and not exists (
        select 1 from users as u where u.global_role = 'admin' and u.is_active and u.deleted_at is null
    )
order by 1;

-- name: channel_of -> value, by key
-- The channel of a project, by its slug.
select 'project:' || p.id from projects as p where p.slug = :slug;

-- name: installation -> value, by key
-- The UUID that all of the installation's names in Redis carry.
select i.id::text from install as i;

-- name: secret_prints -> many, by key
select s.setting, s.print from secret_prints as s;

-- name: keep_secret_prints -> nothing, by key
-- Keeps the prints of secrets of which there is none yet, or of all: together, so that no host starts in between.
insert into secret_prints as s (setting, print)
select n.setting, n.print from unnest(:settings::text[], :prints::text[]) as n (setting, print)
order by n.setting
on conflict (setting) do update set print = excluded.print where :again::boolean;
