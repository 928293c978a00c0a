-- Reminders: whoever is assigned to a card is told the day before it is due and on that day, from nine in the morning by their own
-- clock, once each. What a stopped server missed is told later the same day.

-- What a clock shows in a time zone; in UTC where PostgreSQL does not know it.
create or replace function local_time(zone_ text, moment_ timestamptz) returns timestamp language plpgsql stable as $$
begin
    return moment_ at time zone zone_;
exception when invalid_parameter_value then
    return moment_ at time zone 'UTC';
end
$$;

-- Who is to be reminded of a card at a moment, and of which day: they want to know, see its project, and were not reminded of this
-- date yet.
create or replace function who_is_due(card_ bigint, project_ bigint, due_ date, moment_ timestamptz)
returns table (user_id bigint, kind text) language sql stable as $$
select a.user_id, k.kind
from card_assignees a
inner join users u on u.id = a.user_id
left join project_members m on m.project_id = project_ and m.user_id = a.user_id
-- `offset` keeps it apart: asked once for each.
cross join lateral (select local_time(u.timezone, moment_) as now offset 0) l
cross join lateral (select case due_ - l.now::date when 0 then 'day' when 1 then 'before' end as kind) k
where
    a.card_id = card_ and u.is_active and u.deleted_at is null and notify_choice(u, 'due') <> 'off'
    and effective_role(u.global_role, m.role) is not null
    and l.now::time >= '09:00' and k.kind is not null
    and not exists (
        select 1 from reminders r where r.card_id = card_ and r.user_id = a.user_id and r.date = due_ and r.kind = k.kind
    )
$$;

-- Reminds of some cards of a project whoever is due now. That is asked again with the project entered and the cards locked: whoever
-- closes, moves or deletes one, or takes somebody out, comes before or after. A card that somebody else has locked waits for the
-- next time.
create or replace function remind(project_ bigint, cards_ bigint[], moment_ timestamptz) returns text[] language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    c cards;
    people bigint[];
    kinds text[];
    ids bigint[];
    noted bigint[] := '{}';
begin
    perform enter_project(project_);
    if not exists (select 1 from projects p where p.id = project_ and not p.is_archived and p.purged_at is null) then
        return '{}';
    end if;
    for c in
        select * from cards k
        where
            k.id = any(cards_) and k.project_id = project_ and k.due_date is not null
            and not k.closed and k.archived_at is null and k.deleted_at is null
        order by k.id for no key update skip locked
    loop
        select array_agg(d.user_id order by d.user_id), array_agg(d.kind order by d.user_id) into people, kinds
        from who_is_due(c.id, c.project_id, c.due_date, moment_) d;
        continue when people is null;
        ids := note(
            about(null, c.due_date::text, project_ => c.project_id, card_ => c.id),
            people, array_fill('due'::text, array[cardinality(people)])
        );
        insert into reminders (card_id, user_id, date, kind)
        select c.id, p.id, c.due_date, p.kind
        from unnest(people, kinds) p (id, kind)
        where p.id in (select n.user_id from notifications n where n.id = any(ids));
        noted := noted || ids;
    end loop;
    return tell_notifications(noted);
end
$$;
