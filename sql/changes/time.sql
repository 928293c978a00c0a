-- Time entries written, edited and deleted, by themselves or by a comment. A card shows the sum of its entries and what was put
-- right by hand.
--
-- The order of locks: projects, memberships, accounts, cards, a comment, the person whose time it is, the entry; then feeds.

-- Nobody else changes this person's time until the commit: the sum of a day holds.
create or replace function hold_time(user_ bigint) returns void language sql as $$
select pg_advisory_xact_lock(6, (user_ % 2147483647)::integer)
$$;

-- A day has 24 hours, also for who logs time in two places at once.
create or replace function require_day(user_ bigint, date_ date) returns void language plpgsql as $$
begin
    if (select sum(t.minutes) from time_entries t where t.user_id = user_ and t.date = date_) > 1440 then
        perform refuse(422, 'minutes: more than 24 hours on ' || to_char(date_, 'YYYY-MM-DD'),
            '{"code":"day_is_full","fields":{"minutes":"out_of_range"}}');
    end if;
end
$$;

-- The day that it is for somebody; in UTC where PostgreSQL does not know the time zone, which the host that took it did.
create or replace function today_of(u users) returns date language plpgsql stable as $$
begin
    return (clock_timestamp() at time zone (u).timezone)::date;
exception when invalid_parameter_value then
    return (clock_timestamp() at time zone 'UTC')::date;
end
$$;

-- The first sentence of a text, or its first line.
create or replace function first_sentence(body_ text) returns text language sql immutable as $$
select left(coalesce(substring(btrim(body_) from '^([^\n]*?[.!?])(?=\s|$)'), split_part(btrim(body_), E'\n', 1)), 1000)
$$;

-- Whether so many minutes lie between a beginning and an end, where there are both.
create or replace function times_hold(minutes_ integer, start_ time, end_ time) returns boolean language sql immutable as $$
select coalesce(minutes_ * interval '1 minute' <= end_ - start_, true)
$$;

-- The time that a comment of a locked card says from now on, beside its text of now: an entry of its author for the author's own
-- day, with the comment's first sentence, which follows the text unless somebody wrote another description. More minutes than lie
-- between the entry's beginning and its end take both away. No time removes the entry. Gives the entry as it is now, or was; of
-- nulls when nothing of it differs.
drop function if exists log_time(card_comments, integer);
create or replace function log_time(m card_comments, minutes_ integer, body_ text) returns time_entries language plpgsql as $$
declare
    t time_entries;
begin
    if minutes_ = 0 and m.time_spent_minutes = 0 then
        return null;
    end if;
    perform hold_time(m.user_id);
    if minutes_ = 0 then
        delete from time_entries e where e.comment_id = m.id returning * into t;
    elsif m.time_spent_minutes > 0 then
        update time_entries e set
            minutes = minutes_, updated_at = clock_timestamp(),
            start_time = case when e.minutes = minutes_ or times_hold(minutes_, e.start_time, e.end_time) then e.start_time end,
            end_time = case when e.minutes = minutes_ or times_hold(minutes_, e.start_time, e.end_time) then e.end_time end,
            description = case when e.description = first_sentence(m.body) then first_sentence(body_) else e.description end
        where e.comment_id = m.id and (
            e.minutes <> minutes_ or (e.description = first_sentence(m.body) and e.description <> first_sentence(body_))
        )
        returning * into t;
    else
        insert into time_entries (user_id, project_id, card_id, comment_id, date, minutes, description)
        select m.user_id, m.project_id, m.card_id, m.id, today_of(u), minutes_, first_sentence(body_)
        from users u where u.id = m.user_id
        returning * into t;
    end if;
    if minutes_ > m.time_spent_minutes then
        perform require_day(t.user_id, t.date);
    end if;
    return t;
end
$$;

-- Locks people's feeds, in the order in which all do, before they are told one after the other.
create or replace function hold_feeds_of(people_ bigint[]) returns void language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    insert into feeds (channel) select distinct ('user:' || p.id) collate "C" as channel from unnest(people_) p (id) order by channel
    on conflict do nothing;
    perform 1 from feeds f
    where f.channel in (select 'user:' || p.id from unnest(people_) p (id)) order by f.channel for no key update;
end
$$;

-- The same for those whom these notifications are for, and one more.
create or replace function hold_feeds_of_noted(ids_ bigint[], user_ bigint) returns void language plpgsql as $$
begin
    perform hold_feeds_of(array(select n.user_id from notifications n where n.id = any(ids_)) || user_);
end
$$;

-- What a person is told of an entry, when the place in the feed is taken: that it is there, is another, or is gone.
create or replace function entry_event(type_ text, t time_entries) returns new_event language sql stable as $$
select row(
    'user:' || t.user_id, type_,
    case when type_ = 'time.entry_deleted' then '{"id":' || t.id || '}' else shape(t)::text end,
    entity('time_entry', t.id)
)::new_event
$$;

-- Tells a person of an entry whose feed is held: see hold_feeds_of.
create or replace function tell_entry(type_ text, t time_entries, actor_ bigint, client_ text) returns text[]
language plpgsql as $$
declare
    seq_ bigint := take_seq('user:' || t.user_id);
begin
    return write_events(array[entry_event(type_, t)], actor_, client_, array[seq_]);
end
$$;

-- Which project and card a body means, for somebody who sees them; else 422. The card may be meant by its id or its key, and then
-- says the project. `project_`: an id; `slug_` is another way to say it.
create or replace function place_of_time(
    actor_ bigint, project_ bigint, slug_ text, card_ text, out place_project bigint, out place_card bigint
) language plpgsql as $$
declare
    field_ text := case when project_ is null then 'project' else 'project_id' end;
begin
    if project_ is not null or slug_ is not null then
        if project_ is not null then
            select p.id into place_project from projects p where p.id = project_ and p.slug = coalesce(slug_, p.slug);
        else
            select p.id into place_project from projects p where p.slug = slug_;
        end if;
        if place_project is null or not sees_project(actor_, place_project) then
            perform refuse(422, field_ || ': no such project', json_build_object('fields', json_build_object(field_, 'unknown')));
        end if;
    end if;
    if card_ is null then
        return;
    end if;
    select c.id into place_card from cards c
    where c.id = any(cards_named(card_)) and c.deleted_at is null and sees_project(actor_, c.project_id)
    order by c.id limit 1;
    if place_card is null then
        perform refuse(422, 'card_id: no such card', '{"fields":{"card_id":"unknown"}}');
    end if;
    if place_project <> (select c.project_id from cards c where c.id = place_card) then
        perform refuse(422, 'card_id: the card is in another project', '{"fields":{"card_id":"conflicting"}}');
    end if;
    select c.project_id into place_project from cards c where c.id = place_card;
end
$$;

-- Asks for the right to write time in these projects, or where there are none for an account that may. 403 where somebody may not
-- see any more what an own entry is about.
create or replace function require_time_writer(actor_ bigint, projects_ bigint[]) returns void language plpgsql as $$
declare
    each_ bigint;
begin
    if projects_ = '{}' then
        perform require_global_role(actor_, array['admin', 'user']);
        return;
    end if;
    perform enter_two_projects(actor_, projects_[1], projects_[2]);
    foreach each_ in array projects_ loop
        if not sees_project(actor_, each_) then
            perform refuse(403, 'you are not in the project any more');
        end if;
        perform require_writer(actor_, each_, 'member');
    end loop;
end
$$;

-- Locks cards that may be deleted, by their ids.
create or replace function hold_cards(ids_ bigint[]) returns void language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    perform 1 from cards k where k.id = any(ids_) order by k.id for no key update;
end
$$;

-- Locks the live card that time is logged on, if there is one.
create or replace function hold_card_of_time(project_ bigint, card_ bigint) returns void language plpgsql as $$
begin
    if card_ is null then
        return;
    end if;
    perform 1 from cards k where k.id = card_ and k.project_id = project_ and k.deleted_at is null for no key update;
    if not found then
        perform refuse(422, 'card_id: no such card', '{"fields":{"card_id":"unknown"}}');
    end if;
end
$$;

-- Where a day, an end and a beginning say what cannot be.
create or replace function require_times(t time_entries, u users) returns void language plpgsql as $$
begin
    if t.date > today_of(u) + interval '1 year' then
        perform refuse(422, 'date: more than a year from now', '{"fields":{"date":"out_of_range"}}');
    end if;
    if t.end_time <= t.start_time then
        perform refuse(422, 'end_time: not after start_time', '{"fields":{"end_time":"conflicting"}}');
    end if;
    if t.date < date '1970-01-01' then
        perform refuse(422, 'date: before 1970', '{"fields":{"date":"out_of_range"}}');
    end if;
    if not times_hold(t.minutes, t.start_time, t.end_time) then
        perform refuse(422, 'minutes: more than from start_time to end_time', '{"fields":{"minutes":"conflicting"}}');
    end if;
    if t.minutes is null then
        perform refuse(400, 'minutes: must be there, or start_time and end_time', '{"fields":{"minutes":"required"}}');
    end if;
end
$$;

-- Ends a change of an entry, when all is locked and written: tells of live cards whose sum is another one, of the comment that says
-- the time, and the person whose time it is.
create or replace function tell_time(
    type_ text, t time_entries, cards_ bigint[], comment_ bigint, actor_ bigint, client_ text
) returns text[] language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    told cards[] := array(select k from cards k where k.id = any(cards_) and k.deleted_at is null order by k.id);
    m card_comments;
    each_ cards;
    channels text[] := '{}';
    events_ new_event[] := '{}';
    seqs bigint[];
begin
    if cardinality(told) > 0 and comment_ is not null then
        select * into m from card_comments x where x.id = comment_ and x.deleted_at is null;
        if m.id is not null then
            channels := array['project:' || m.project_id];
        end if;
    end if;
    foreach each_ in array told loop
        channels := channels || ('project:' || each_.project_id);
    end loop;
    seqs := take_seqs(channels || ('user:' || t.user_id));
    if m.id is not null then
        events_ := array[
            row(
                'project:' || m.project_id, 'board.comment_updated', shape(m)::text, entity(entity('card', m.card_id), 'comment', m.id)
            )::new_event
        ];
    end if;
    foreach each_ in array told loop
        events_ := events_ || row(
            'project:' || each_.project_id, 'board.card_updated',
            card_updated_payload(array['time_spent_minutes'], card_json(each_.id)::text), entity('card', each_.id)
        )::new_event;
    end loop;
    return write_events(events_ || entry_event(type_, t), actor_, client_, seqs);
end
$$;

-- Logs time: the actor's own, or as an administrator somebody's (`user_`).
create or replace function create_time_entry(
    actor_ bigint, client_ text, user_ bigint, project_ bigint, slug_ text, card_ text, date_ date, minutes_ integer,
    description_ text, start_ time, end_ time,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    u users;
    t time_entries;
begin
    select w.place_project, w.place_card into t.project_id, t.card_id from place_of_time(actor_, project_, slug_, card_) w;
    perform require_time_writer(actor_, array_remove(array[t.project_id], null));
    if user_ <> actor_ then
        perform require_global_role(actor_, array['admin']);
    end if;
    select * into u from users x
    where x.id = coalesce(user_, actor_) and x.is_active and x.deleted_at is null and x.global_role in ('admin', 'user', 'viewer');
    if u.id is null then
        perform refuse(422, 'user_id: no such user', '{"fields":{"user_id":"unknown"}}');
    end if;
    if t.project_id is not null and u.id <> actor_
        and not exists (select 1 from project_members m where m.project_id = t.project_id and m.user_id = u.id) then
        perform add_guest(t.project_id, u.id);
    end if;
    perform hold_card_of_time(t.project_id, t.card_id);
    perform hold_time(u.id);
    t.date := coalesce(date_, today_of(u));
    t.start_time := start_;
    t.end_time := end_;
    t.minutes := coalesce(minutes_, extract(epoch from end_ - start_)::integer / 60);
    perform require_times(t, u);
    insert into time_entries (user_id, project_id, card_id, date, minutes, description, start_time, end_time)
    values (u.id, t.project_id, t.card_id, t.date, t.minutes, description_, start_, end_) returning * into t;
    perform require_day(u.id, t.date);
    if t.card_id is not null then
        perform tell_part(t.project_id, t.card_id, actor_, 'time_logged');
        update cards k set time_spent_minutes = k.time_spent_minutes + t.minutes where k.id = t.card_id;
    end if;
    status := 201;
    messages := tell_time('time.entry_created', t, array[t.card_id], null, actor_, client_);
    answer := shape(t, actor_)::text;
end
$$;

-- An entry, which is the actor's own, or anybody's for an administrator; 404 else. Not locked yet.
create or replace function own_time_entry(actor_ bigint, entry_ bigint) returns time_entries language plpgsql as $$
declare
    t time_entries;
begin
    select e.* into t from time_entries e inner join users u on u.id = actor_
    where e.id = entry_ and (e.user_id = actor_ or u.global_role = 'admin');
    if t.id is null then
        perform refuse(404, 'entry not found');
    end if;
    return t;
end
$$;

-- Locks an entry, as it was read, after its comment and the person's time. Who was overtaken begins anew.
create or replace function hold_entry(t time_entries) returns void language plpgsql as $$
begin
    perform 1 from card_comments m where m.id = t.comment_id for no key update;
    perform hold_time(t.user_id);
    perform 1 from time_entries e
    where e.id = t.id and (e.project_id, e.card_id, e.comment_id, e.user_id, e.minutes, e.date, e.updated_at)
        is not distinct from (t.project_id, t.card_id, t.comment_id, t.user_id, t.minutes, t.date, t.updated_at)
    for update;
    if not found then
        raise exception using errcode = '40001', message = 'the time entry was changed meanwhile';
    end if;
end
$$;

-- Changes of an entry what `fields_` has: minutes, date, description, start_time, end_time; project_id, project or card_id, of which
-- null says that there is none. Nothing that differs is no event.
create or replace function update_time_entry(
    actor_ bigint, client_ text, entry_ bigint, fields_ jsonb,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    old time_entries := own_time_entry(actor_, entry_);
    t time_entries := old;
    u users;
    names_project boolean := fields_ ?| array['project_id', 'project'];
begin
    if (fields_ ->> 'user_id')::bigint <> old.user_id then
        perform refuse(422, 'user_id: whose time it is never changes', '{"fields":{"user_id":"immutable"}}');
    end if;
    if names_project or fields_ ? 'card_id' then
        select w.place_project, w.place_card into t.project_id, t.card_id
        from place_of_time(actor_, (fields_ ->> 'project_id')::bigint, fields_ ->> 'project', fields_ ->> 'card_id') w;
        if fields_ ? 'card_id' then
            if t.card_id is null and not names_project then
                t.project_id := old.project_id;
            end if;
        elsif t.project_id is not distinct from old.project_id then
            t.card_id := old.card_id;
        elsif old.card_id is not null then
            perform refuse(422, 'card_id: the card is in another project', '{"fields":{"card_id":"conflicting"}}');
        end if;
    end if;
    if old.comment_id is not null and (t.project_id, t.card_id) is distinct from (old.project_id, old.card_id) then
        perform refuse(422, 'card_id: a comment says this time, on its card', '{"fields":{"card_id":"immutable"}}');
    end if;
    perform require_time_writer(
        actor_, array(select distinct x.id from unnest(array[old.project_id, t.project_id]) x (id) where x.id is not null order by 1)
    );
    if old.user_id <> actor_ then
        perform require_global_role(actor_, array['admin']);
    end if;
    if t.project_id <> old.project_id or old.project_id is null and t.project_id is not null then
        if not exists (select 1 from project_members m where m.project_id = t.project_id and m.user_id = t.user_id) then
            perform add_guest(t.project_id, t.user_id);
        end if;
    end if;
    perform hold_cards(array[old.card_id, t.card_id]);
    if t.card_id is distinct from old.card_id then
        perform hold_card_of_time(t.project_id, t.card_id);
    end if;
    perform hold_entry(old);
    if fields_ ? 'date' then
        t.date := fields_ ->> 'date';
    end if;
    if fields_ ? 'description' then
        t.description := coalesce(fields_ ->> 'description', '');
    end if;
    if fields_ ? 'start_time' then
        t.start_time := fields_ ->> 'start_time';
    end if;
    if fields_ ? 'end_time' then
        t.end_time := fields_ ->> 'end_time';
    end if;
    if fields_ ? 'minutes' then
        t.minutes := fields_ ->> 'minutes';
    elsif fields_ ?| array['start_time', 'end_time'] and t.start_time is not null and t.end_time is not null then
        t.minutes := extract(epoch from t.end_time - t.start_time)::integer / 60;
    end if;
    if (t.date, t.minutes, t.start_time, t.end_time) is distinct from (old.date, old.minutes, old.start_time, old.end_time) then
        select * into u from users x where x.id = t.user_id;
        perform require_times(t, u);
    end if;
    status := 200;
    messages := '{}';
    if t is distinct from old then
        update time_entries e set
            project_id = t.project_id, card_id = t.card_id, date = t.date, minutes = t.minutes, description = t.description,
            start_time = t.start_time, end_time = t.end_time, updated_at = clock_timestamp()
        where e.id = t.id returning * into t;
        if t.minutes > old.minutes or t.date <> old.date then
            perform require_day(t.user_id, t.date);
        end if;
        messages := move_time(old, t, 'time.entry_updated', actor_, client_);
    end if;
    answer := shape(t, actor_)::text;
end
$$;

-- What an entry was and what it is now, in the sums of the cards and in its comment, all locked; then tells it.
create or replace function move_time(old time_entries, t time_entries, type_ text, actor_ bigint, client_ text) returns text[]
language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    minutes_ integer := case type_ when 'time.entry_deleted' then 0 else t.minutes end;
    told bigint[] := '{}';
begin
    if t.card_id is distinct from old.card_id or minutes_ <> old.minutes then
        told := array_remove(array[old.card_id, nullif(t.card_id, old.card_id)], null);
        update cards k set
            time_spent_minutes = k.time_spent_minutes
                - case when k.id = old.card_id then old.minutes else 0 end
                + case when k.id = t.card_id then minutes_ else 0 end
        where k.id = any(told);
        perform tell_part(k.project_id, k.id, actor_, 'time_logged') from cards k where k.id = any(told);
    end if;
    if old.comment_id is not null and minutes_ <> old.minutes then
        update card_comments m set
            time_spent_minutes = minutes_, version = m.version + 1, updated_at = clock_timestamp()
        where m.id = old.comment_id;
    end if;
    return tell_time(
        type_, t, told, case when minutes_ <> old.minutes then old.comment_id end, actor_, client_
    );
end
$$;

-- Deletes an entry; the comment that said the time says none from now on.
create or replace function delete_time_entry(
    actor_ bigint, client_ text, entry_ bigint, out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    old time_entries := own_time_entry(actor_, entry_);
begin
    perform require_time_writer(actor_, array_remove(array[old.project_id], null));
    if old.user_id <> actor_ then
        perform require_global_role(actor_, array['admin']);
    end if;
    perform hold_cards(array[old.card_id]);
    perform hold_entry(old);
    delete from time_entries e where e.id = old.id;
    status := 204;
    answer := '';
    messages := move_time(old, old, 'time.entry_deleted', actor_, client_);
end
$$;
