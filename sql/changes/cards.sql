-- Hot changes of cards: created, updated, moved. Each locks, writes, takes its seq, shapes and tells in one round trip.
--
-- Their plans are made once a session and go by indexes: a table may be small at the first call and large at the last, and
-- planning every statement anew would cost more than running it.

-- A card by what a path calls it: its id, or its key with a prefix in any case, that of before too if it came from another project.
-- Null when the project has no such card.
create or replace function card_id(project_ bigint, key_prefix_ text, ref_ text) returns bigint language sql stable as $$
select case
    when ref_ ~ '^[0-9]{1,18}$' then (
        select c.id from cards c where c.id = ref_::bigint and c.project_id = project_
    )
    when ref_ ~ '^[A-Za-z0-9]+-[0-9]{1,9}$' then coalesce(
        (
            select c.id from cards c
            where c.project_id = project_ and c.card_number = split_part(ref_, '-', 2)::integer
                and upper(split_part(ref_, '-', 1)) = key_prefix_
        ),
        (
            select c.id from card_key_aliases a inner join cards c on c.id = a.card_id
            where a.key_prefix = upper(split_part(ref_, '-', 1)) and a.card_number = split_part(ref_, '-', 2)::integer
                and c.project_id = project_
        )
    )
end
$$;

create or replace function card_id(p projects, ref_ text) returns bigint language sql stable as $$
select card_id((p).id, (p).key_prefix, ref_)
$$;

-- Locks a live column, so that places in it are given one after the other. `status_`: 404 for a column of the path, 422 for
-- one of the body.
create or replace function lock_column(project_ bigint, column_ bigint, status_ integer) returns void language plpgsql as $$
begin
    perform 1 from columns k
    where k.id = column_ and k.project_id = project_ and k.deleted_at is null for no key update;
    if not found then
        perform refuse(status_, case status_ when 404 then 'column not found' else 'column_id: no such column in this project' end,
            case status_ when 422 then '{"fields":{"column_id":"unknown"}}'::json end);
    end if;
end
$$;

-- Locks a live card and its column, and the column it should go to, in the order that all changes keep. Somebody may move the
-- card while this waits for its column: then the new one is taken only if nobody holds it, and else the change starts again.
-- Without a `target_` the card and its own column are locked: where a card leaves, places are given one after the other, too.
-- An id, which most paths have, is told without a call.
create or replace function hold_card(
    project_ bigint, key_prefix_ text, ref_ text, target_ bigint,
    out id bigint, out column_id bigint, out place double precision, out version integer
) language plpgsql as $$
declare
    id_ bigint := case when ref_ ~ '^[0-9]{1,18}$' then ref_::bigint else card_id(project_, key_prefix_, ref_) end;
    from_ bigint;
begin
    select k.column_id into from_ from cards k where k.id = id_ and k.project_id = project_ and k.deleted_at is null;
    if from_ is null then
        perform refuse(404, 'card not found');
    end if;
    perform 1 from columns k where k.id in (from_, target_) and k.project_id = project_ order by k.id for no key update;
    select k.id, k.column_id, k.position, k.version into id, column_id, place, version
    from cards k where k.id = id_ and k.project_id = project_ and k.deleted_at is null for no key update;
    if id is null then
        perform refuse(404, 'card not found');
    end if;
    if column_id not in (from_, coalesce(target_, from_)) then
        perform 1 from columns k where k.id = hold_card.column_id for no key update nowait;
    end if;
end
$$;

-- The same with all that the row holds.
create or replace function lock_card(p projects, ref_ text, target_ bigint) returns cards language plpgsql as $$
declare
    held record := hold_card(p.id, p.key_prefix, ref_, target_);
    c cards;
begin
    select * into c from cards k where k.id = held.id;
    return c;
end
$$;

-- Where a card comes to stand among the other cards of a locked column: at the end, at an index, before the first card with a
-- greater position, or beside a card. `low` and `high` are the neighbours' positions, null at the ends.
create or replace function place_in(
    column_ bigint, card_ bigint, index_ integer, position_ double precision, before_ bigint, after_ bigint,
    out place double precision, out low double precision, out high double precision
) language plpgsql as $$
declare
    beside_ double precision;
    noun_ text := case when before_ is not null then 'before_card_id' else 'after_card_id' end;
begin
    if before_ is not null or after_ is not null then
        select o.position into beside_ from cards o
        where o.id = coalesce(before_, after_) and o.id is distinct from card_ and o.column_id = column_
            and o.deleted_at is null and o.archived_at is null;
        if beside_ is null then
            perform refuse(422, noun_ || ': no other card of this column', json_build_object('fields', json_build_object(noun_, 'unknown')));
        end if;
    end if;
    if before_ is not null then
        high := beside_;
    elsif after_ is not null then
        select min(o.position) into high from cards o
        where o.column_id = column_ and o.deleted_at is null and o.archived_at is null
            and o.id is distinct from card_ and o.position > beside_;
    elsif index_ is not null then
        select o.position into high from cards o
        where o.column_id = column_ and o.deleted_at is null and o.archived_at is null and o.id is distinct from card_
        order by o.position, o.id offset index_ limit 1;
    elsif position_ is not null then
        select min(o.position) into high from cards o
        where o.column_id = column_ and o.deleted_at is null and o.archived_at is null
            and o.id is distinct from card_ and o.position > position_;
    end if;
    select max(o.position) into low from cards o
    where o.column_id = column_ and o.deleted_at is null and o.archived_at is null
        and o.id is distinct from card_ and (high is null or o.position < high);
    place := case
        when high is null then coalesce(low, 0) + 1000
        when low is not null then low + (high - low) / 2
        when high > 0 then high / 2
        else high - 1000
    end;
end
$$;

-- Whether a place has come too close to a neighbour for others to fit between.
create or replace function is_crowded(place_ double precision, low_ double precision, high_ double precision) returns boolean
language sql immutable as $$
select coalesce(place_ - low_ < 1e-6, false) or coalesce(high_ - place_ < 1e-6, false)
$$;

-- Spaces cards of a locked column anew around a place that is crowded. Raises no version: nobody wrote these cards. Gives the
-- events that tell of it, which show nothing that others could change meanwhile; 5,000 cards of one are about 200 kB.
--
-- A column of up to 5,000 cards gets 1000, 2000, 3000 … In a longer one the thousand cards before the place and the thousand
-- behind it share the room that they have, unless that is less than a thousandth each: then all cards are spaced.
--
-- Who comes here holds a card already, and others hold cards and may wait for that one. So while there is room for a few more
-- in between, as a rule, and another change holds one of the cards, this is left to the next who comes to the place.
drop function if exists space_cards(bigint, bigint, double precision);
create or replace function space_cards(
    project_ bigint, column_ bigint, place_ double precision, low_ double precision, high_ double precision
) returns new_event[] language plpgsql as $$
declare
    ids bigint[];
    can_wait boolean := coalesce(least(place_ - low_, high_ - place_), 0) > 1e-14 * greatest(1, abs(place_));
    low double precision;
    high double precision;
    step double precision;
begin
    if (
        select count(*) from (
            select 1 from cards o where o.column_id = column_ and o.deleted_at is null and o.archived_at is null limit 5001
        ) o
    ) > 5000 then
        select array_agg(o.id order by o.position, o.id), min(o.position), max(o.position) into ids, low, high
        from (
            (
                select o.id, o.position from cards o
                where o.column_id = column_ and o.deleted_at is null and o.archived_at is null and o.position <= place_
                order by o.position desc, o.id desc limit 1000
            )
            union all
            (
                select o.id, o.position from cards o
                where o.column_id = column_ and o.deleted_at is null and o.archived_at is null and o.position > place_
                order by o.position, o.id limit 1000
            )
        ) o;
        low := (
            select max(o.position) from cards o
            where o.column_id = column_ and o.deleted_at is null and o.archived_at is null and o.position < low
        );
        high := (
            select min(o.position) from cards o
            where o.column_id = column_ and o.deleted_at is null and o.archived_at is null and o.position > high
        );
        low := coalesce(low, high - 1000 * (cardinality(ids) + 1));
        step := coalesce((high - low) / (cardinality(ids) + 1), 1000);
    end if;
    if coalesce(step, 0) < 0.001 then
        step := null;
        ids := array(
            select o.id from cards o where o.column_id = column_ and o.deleted_at is null and o.archived_at is null
            order by o.position, o.id
        );
    end if;
    if can_wait and cardinality(ids) > (
        select count(*) from (select 1 from cards c where c.id = any(ids) order by c.id for no key update skip locked) l
    ) then
        return '{}';
    end if;
    if step is not null then
        update cards c set position = low + step * n.nth from unnest(ids) with ordinality n (id, nth) where c.id = n.id;
    else
        update cards c set position = 1000 * n.nth from unnest(ids) with ordinality n (id, nth)
        where c.id = n.id and c.position <> 1000 * n.nth;
    end if;
    return array(
        select new_event(
            'project:' || project_, 'board.cards_reordered',
            row_to_json(
                row(column_, array_to_json(array_agg(row(c.id, c.position)::place_shape order by n.nth)))::cards_reordered_shape
            )
        )
        from unnest(ids) with ordinality n (id, nth) inner join cards c on c.id = n.id
        group by (n.nth - 1) / 5000
        order by (n.nth - 1) / 5000
    );
end
$$;

-- What the event of a move says, and the event. Put together as text: a card that is cut short need not be read as JSON again.
create or replace function card_moved_payload(c cards, key_ text, from_ bigint, card_ json) returns text language sql stable as $$
select '{"card_id":' || c.id || ',"key":' || to_json(key_) || ',"from_column_id":' || from_ || ',"to_column_id":' || c.column_id
    || ',"position":' || c.position || ',"version":' || c.version || ',"card":' || without_description(card_::text) || '}'
$$;

create or replace function card_moved(c cards, from_ bigint, card_ json) returns new_event language sql stable as $$
select row(
    'project:' || c.project_id, 'board.card_moved', card_moved_payload(c, card_ ->> 'key', from_, card_), entity('card', c.id)
)::new_event
$$;

-- Makes a card's assignees, labels and tags what the fields say: the whole list, or what is added to it and removed from it;
-- keys that are absent stay. Gives the names of what changed. What cannot be is refused; what comes and goes is written to the
-- card's history unless the card is new. A list that grows in parts gets no longer than one that is sent whole may be.
create or replace function write_lists(project_ bigint, card_ bigint, fields_ jsonb, actor_ bigint, is_new_ boolean) returns text[]
language plpgsql as $$
declare
    changes text[] := '{}';
    is_whole_ boolean;
    noun_ text;
    wanted bigint[];
    unwanted bigint[];
    words text[];
    unwanted_words text[];
    missing bigint;
    guests bigint[];
begin
    if fields_ ?| array['assignee_ids', 'add_assignee_ids', 'remove_assignee_ids'] then
        is_whole_ := fields_ ? 'assignee_ids';
        noun_ := case when is_whole_ then 'assignee_ids' else 'add_assignee_ids' end;
        wanted := array(select e::bigint from jsonb_array_elements_text(fields_ -> noun_) e);
        unwanted := array(select e::bigint from jsonb_array_elements_text(fields_ -> 'remove_assignee_ids') e);
        select min(w) filter (where u.id is null), array_agg(w) filter (where u.id is not null and m.id is null)
        into missing, guests
        from unnest(wanted) w
        left join project_members m on m.project_id = project_ and m.user_id = w
        left join users u on u.id = w and u.is_active and u.deleted_at is null and (m.id is not null or u.global_role = 'admin')
        where not exists (select 1 from card_assignees a where a.card_id = card_ and a.user_id = w);
        if exists (select 1 from project_members m where m.project_id = project_ and m.user_id = missing) then
            perform refuse(422, noun_ || ': user ' || missing || ' is not active',
                json_build_object('fields', json_build_object(noun_, 'not_active')));
        end if;
        if missing is not null then
            perform refuse(422, noun_ || ': user ' || missing || ' is no member of this project',
                json_build_object('fields', json_build_object(noun_, 'not_a_member')));
        end if;
        if guests is not null then
            -- As many as a person may be a member of: others cannot make somebody a guest of more.
            select min(g) into missing from unnest(guests) g
            where not exists (select 1 from project_guests o where o.user_id = g and o.project_id = project_)
                and exists (select 1 from project_guests o where o.user_id = g offset 4999);
            if missing is not null then
                perform refuse(422, noun_ || ': user ' || missing || ' is shown in too many projects',
                    json_build_object('code', 'too_many_projects', 'fields', json_build_object(noun_, 'conflicting')));
            end if;
            perform add_guest(project_, g) from unnest(guests) g order by g;
        end if;
        with gone as (
            delete from card_assignees a
            where a.card_id = card_ and case when is_whole_ then a.user_id <> all(wanted) else a.user_id = any(unwanted) end
            returning a.user_id
        ), come as (
            insert into card_assignees (card_id, user_id, created_at)
            select card_, w.id, clock_timestamp() + w.nth * interval '1 microsecond'
            from unnest(wanted) with ordinality w (id, nth)
            on conflict do nothing returning user_id
        ), told as (
            -- Without the name, which is shaped from the account.
            insert into card_history (project_id, card_id, user_id, event_type, field, from_value, to_value)
            select
                project_, card_, actor_, x.event_type, 'assignees', case when x.event_type = 'unassigned' then x.user_id::text end,
                case when x.event_type = 'assigned' then x.user_id::text end
            from (
                select 'unassigned' as event_type, gone.user_id from gone
                union all select 'assigned', come.user_id from come
            ) x
            where not is_new_
        )
        select changes || array(select 'assignees' where exists (select 1 from gone) or exists (select 1 from come)) into changes;
        if not is_whole_ and wanted <> '{}' and (select count(*) from card_assignees a where a.card_id = card_) > 100 then
            perform refuse(422, noun_ || ': a card has at most 100 assignees',
                json_build_object('code', 'too_many_assignees', 'fields', json_build_object(noun_, 'conflicting')));
        end if;
    end if;
    if fields_ ?| array['label_ids', 'add_label_ids', 'remove_label_ids'] then
        is_whole_ := fields_ ? 'label_ids';
        noun_ := case when is_whole_ then 'label_ids' else 'add_label_ids' end;
        wanted := array(select e::bigint from jsonb_array_elements_text(fields_ -> noun_) e);
        unwanted := array(select e::bigint from jsonb_array_elements_text(fields_ -> 'remove_label_ids') e);
        perform 1 from labels b where b.id = any(wanted) and b.project_id = project_ order by b.id for share;
        select w into missing from unnest(wanted) w
        where not exists (select 1 from labels b where b.id = w and b.project_id = project_ and b.deleted_at is null) limit 1;
        if missing is not null then
            perform refuse(422, noun_ || ': no label ' || missing || ' in this project',
                json_build_object('fields', json_build_object(noun_, 'unknown')));
        end if;
        with gone as (
            delete from card_labels cl
            where cl.card_id = card_ and case when is_whole_ then cl.label_id <> all(wanted) else cl.label_id = any(unwanted) end
            returning cl.label_id
        ), come as (
            insert into card_labels (card_id, label_id) select card_, w from unnest(wanted) w
            on conflict do nothing returning label_id
        ), told as (
            insert into card_history (project_id, card_id, user_id, event_type, field, from_value, to_value, detail)
            select
                project_, card_, actor_, x.event_type, 'labels', case when x.event_type = 'label_removed' then x.label_id::text end,
                case when x.event_type = 'label_added' then x.label_id::text end, b.name
            from (
                select 'label_removed' as event_type, gone.label_id from gone
                union all select 'label_added', come.label_id from come
            ) x inner join labels b on b.id = x.label_id
            where not is_new_
        )
        select changes || array(select 'labels' where exists (select 1 from gone) or exists (select 1 from come)) into changes;
    end if;
    if fields_ ?| array['tags', 'add_tags', 'remove_tags'] then
        is_whole_ := fields_ ? 'tags';
        noun_ := case when is_whole_ then 'tags' else 'add_tags' end;
        words := array(select e from jsonb_array_elements_text(fields_ -> noun_) e);
        unwanted_words := array(select e from jsonb_array_elements_text(fields_ -> 'remove_tags') e);
        -- A path calls a tag by its id or its name; what could be either is an id if the card has one.
        if fields_ ? 'remove_tag_id' then
            unwanted_words := coalesce(
                (select array[ct.name] from card_tags ct where ct.id = (fields_ ->> 'remove_tag_id')::bigint and ct.card_id = card_),
                unwanted_words
            );
        end if;
        with gone as (
            delete from card_tags ct
            where ct.card_id = card_ and case when is_whole_ then ct.name <> all(words) else ct.name = any(unwanted_words) end
            returning ct.name
        ), come as (
            insert into card_tags (card_id, name)
            select card_, w.name from unnest(words) with ordinality w (name, nth) order by w.nth
            on conflict do nothing returning name
        ), told as (
            insert into card_history (project_id, card_id, user_id, event_type, field, from_value, to_value, detail)
            select
                project_, card_, actor_, x.event_type, 'tags', case when x.event_type = 'tag_removed' then x.name end,
                case when x.event_type = 'tag_added' then x.name end, x.name
            from (
                select 'tag_removed' as event_type, gone.name from gone
                union all select 'tag_added', come.name from come
            ) x
            where not is_new_
        )
        select changes || array(select 'tags' where exists (select 1 from gone) or exists (select 1 from come)) into changes;
        if not is_whole_ and words <> '{}' and (select count(*) from card_tags ct where ct.card_id = card_) > 100 then
            perform refuse(422, noun_ || ': a card has at most 100 tags',
                json_build_object('code', 'too_many_tags', 'fields', json_build_object(noun_, 'conflicting')));
        end if;
    end if;
    return changes;
end
$$;

-- What a ticket calls by name. Of two columns of one name the left one; null when there is none of it.
create or replace function column_named(project_ bigint, name_ text) returns bigint language plpgsql stable as $$
begin
    return (
        select k.id from columns k
        where k.project_id = project_ and k.deleted_at is null and lower(k.name) = lower(name_)
        order by k.position, k.id limit 1
    );
end
$$;

-- Refuses the name of a column that is not there, and says which are.
create or replace function refuse_column_name(project_ bigint) returns void language plpgsql as $$
declare
    names text[] := array(
        select k.name from columns k where k.project_id = project_ and k.deleted_at is null order by k.position, k.id
    );
begin
    perform refuse(422, 'column_name: no such column in this project; there are ' || array_to_string(names, ', '),
        json_build_object('fields', '{"column_name":"unknown"}'::json, 'allowed', json_build_object('column_name', names)));
end
$$;

create or replace function require_column_named(project_ bigint, name_ text) returns bigint language plpgsql as $$
declare
    column_ bigint := column_named(project_, name_);
begin
    if column_ is null then
        perform refuse_column_name(project_);
    end if;
    return column_;
end
$$;

-- Finds and locks the column that a new ticket goes to: by its id, by its name, or the first one. Another name that it gets in
-- this moment is waited for, and looked at.
create or replace function hold_ticket_column(project_ bigint, fields_ jsonb) returns bigint language plpgsql as $$
declare
    name_ text := lower(fields_ ->> 'column_name');
    column_ bigint := (fields_ ->> 'column_id')::bigint;
begin
    if column_ is not null then
        perform lock_column(project_, column_, 422);
        return column_;
    end if;
    select k.id into column_ from columns k
    where k.project_id = project_ and k.deleted_at is null and lower(k.name) = coalesce(name_, lower(k.name))
    order by k.position, k.id limit 1 for no key update;
    if column_ is null then
        perform refuse_column_name(project_);
    end if;
    return column_;
end
$$;

-- A new ticket's fields with the ids of the people and labels that it names. Who is no member is as unknown as who is nobody.
create or replace function with_ids(project_ bigint, fields_ jsonb) returns jsonb language plpgsql as $$
declare
    ids bigint[];
    missing text;
begin
    if fields_ ? 'assignees' then
        select array_agg(u.id order by n.nth), (array_agg(n.name order by n.nth) filter (where u.id is null))[1]
        into ids, missing
        from jsonb_array_elements_text(fields_ -> 'assignees') with ordinality n (name, nth)
        left join users u
            on lower(u.username) = lower(n.name) and u.is_active and u.deleted_at is null
            and (
                u.global_role = 'admin'
                or exists (select 1 from project_members m where m.project_id = project_ and m.user_id = u.id)
            );
        if exists (
            select 1 from project_members m inner join users u on u.id = m.user_id
            where m.project_id = project_ and lower(u.username) = lower(missing)
        ) then
            perform refuse(422, 'assignees: ' || missing || ' is not active', '{"fields":{"assignees":"not_active"}}');
        end if;
        if missing is not null then
            perform refuse(422, 'assignees: ' || missing || ' is no member of this project', '{"fields":{"assignees":"not_a_member"}}');
        end if;
        fields_ := fields_ || jsonb_build_object('assignee_ids', coalesce(ids, '{}'));
    end if;
    if fields_ ? 'labels' then
        select array_agg(b.id order by n.nth), (array_agg(n.name order by n.nth) filter (where b.id is null))[1]
        into ids, missing
        from jsonb_array_elements_text(fields_ -> 'labels') with ordinality n (name, nth)
        left join labels b on b.project_id = project_ and lower(b.name) = lower(n.name) and b.deleted_at is null;
        if missing is not null then
            perform refuse(422, 'labels: no label ' || missing || ' in this project', '{"fields":{"labels":"unknown"}}');
        end if;
        fields_ := fields_ || jsonb_build_object('label_ids', coalesce(ids, '{}'));
    end if;
    return fields_;
end
$$;

-- A new card in a column: numbered by its project's counter, at the end unless a place is given. `fields_` holds the keys that
-- were sent, already of the right type; null clears. `checklist_of` is a locked card whose checklist is copied. Without a column
-- it is a ticket, whose fields name what it is about.
create or replace function create_card(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, column_ bigint, fields_ jsonb, index_ integer, position_ double precision, before_ bigint, after_ bigint,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    prefix text;
    number_ integer;
    c cards;
    spot record;
    card text;
    channel_ text := 'project:' || project_;
    spaced new_event[];
    noted bigint[] := '{}';
    seqs bigint[];
begin
    messages := '{}';
    prefix := require_writer(actor_, project_, need_);
    if column_ is null then
        column_ := hold_ticket_column(project_, fields_);
        fields_ := with_ids(project_, fields_);
    else
        perform lock_column(project_, column_, 404);
    end if;
    if (fields_ ->> 'due_date')::date < (fields_ ->> 'start_date')::date then
        perform refuse(422, 'due_date: before start_date', '{"fields":{"due_date":"conflicting"}}');
    end if;
    spot := place_in(column_, null, index_, position_, before_, after_);
    update projects set card_counter = card_counter + 1 where id = project_ returning card_counter into number_;
    insert into cards (
        project_id, column_id, card_number, position, created_by_id, title, description, priority, start_date, due_date,
        created_at, updated_at
    )
    select
        project_, column_, number_, spot.place, actor_, fields_ ->> 'title', coalesce(fields_ ->> 'description', ''),
        coalesce(fields_ ->> 'priority', 'none'), (fields_ ->> 'start_date')::date, (fields_ ->> 'due_date')::date,
        moment.now, moment.now
    from (select clock_timestamp() as now) moment
    returning * into c;
    if fields_ ?| array['assignee_ids', 'label_ids', 'tags'] then
        perform write_lists(project_, c.id, fields_, actor_, true);
    end if;
    if fields_ ? 'checklist_of' then
        insert into card_checklist_items (card_id, body, is_completed, position)
        select c.id, i.body, i.is_completed, i.position from card_checklist_items i
        where i.card_id = (fields_ ->> 'checklist_of')::bigint order by i.position, i.id;
        update cards k set checklist_total = o.checklist_total, checklist_done = o.checklist_done
        from cards o where o.id = (fields_ ->> 'checklist_of')::bigint and k.id = c.id returning k.* into c;
    end if;
    insert into card_history (project_id, card_id, user_id, event_type, to_column_id, detail)
    values (project_, c.id, actor_, 'created', column_, c.title);
    if fields_ ? 'assignee_ids' then
        noted := note_card(c, actor_, '{}', '{assignees}', false, false);
    end if;
    if is_crowded(spot.place, spot.low, spot.high) then
        spaced := space_cards(project_, column_, spot.place, spot.low, spot.high);
        select k.position into c.position from cards k where k.id = c.id;
        seqs := take_seqs(array_fill(channel_, array[1 + cardinality(spaced)]));
        card := card_json(c, prefix);
        messages := write_events(
            row(channel_, 'board.card_created', card_begun(c, card), entity('card', c.id))::new_event || spaced, actor_, client_, seqs
        );
    else
        seqs[1] := take_seq(channel_);
        card := card_json(c, prefix);
        messages := write_event(
            seqs[1], channel_, 'board.card_created', card_begun(c, card), entity('card', c.id), actor_, client_
        );
    end if;
    messages := messages || tell_notifications(noted);
    status := 201;
    answer := card;
end
$$;

-- What the event of an update says: the card, its description only if that changed, and the names of its keys that changed.
create or replace function card_updated_payload(changes_ text[], card_ text) returns text language sql stable as $$
select joined(
    '{"changes":' || to_json(changes_) || '}', case when 'description' = any(changes_) then card_ else without_description(card_) end
)
$$;

-- Another value of a card's field for its history; gives the field's name.
create or replace function tell_field(
    c cards, actor_ bigint, event_type_ text, field_ text, from_ text, to_ text, detail_ text
) returns text language plpgsql as $$
begin
    insert into card_history (project_id, card_id, user_id, event_type, field, from_value, to_value, detail)
    values (c.project_id, c.id, actor_, event_type_, field_, from_, to_, detail_);
    return field_;
end
$$;

-- Writes the fields that were sent and differ. `column_id` among them moves the card to that column's end; `was` says what the
-- client saw in some, and they are refused if it is something else. Nothing that differs is no event and no new version.
-- Answers with what `shows_` says: the card and all that hangs on it (`detail`), the card (`card`), one of its keys, or the card and
-- its new comment (`ticket`). A ticket calls the column it goes to by name (`column_name`), and `comment_` is written with the rest
-- or not at all; `names_` are the usernames in it, with spaces between.
drop function if exists update_card(bigint, text, text, integer, integer, bigint, text, jsonb);
drop function if exists update_card(bigint, text, text, integer, integer, bigint, text, jsonb, text);
create or replace function update_card(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, card_ text, fields_ jsonb, shows_ text default 'detail',
    comment_ text default null, names_ text default '',
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    prefix text;
    id_ bigint;
    old cards;
    c cards;
    spot record;
    card text;
    payload text;
    channel_ text := 'project:' || project_;
    changes text[] := '{}';
    is_moved boolean;
    is_changed boolean;
    m card_comments;
    target_ bigint;
    assigned bigint[];
    noted bigint[] := '{}';
    seqs bigint[];
begin
    messages := '{}';
    prefix := require_writer(actor_, project_, need_);
    if fields_ ? 'column_name' then
        target_ := column_named(project_, fields_ ->> 'column_name');
        perform hold_card(project_, prefix, card_, target_);
        if target_ is null then
            perform refuse_column_name(project_);
        elsif target_ is distinct from column_named(project_, fields_ ->> 'column_name') then
            raise exception using errcode = '40001', message = 'columns got other names meanwhile';
        end if;
        fields_ := fields_ || jsonb_build_object('column_id', target_);
    end if;
    -- Most updates name no column: then the card alone is locked, and read whole by the same statement.
    if fields_ ? 'column_id' then
        id_ := (hold_card(project_, prefix, card_, (fields_ ->> 'column_id')::bigint)).id;
    elsif card_ ~ '^[0-9]{1,18}$' then
        id_ := card_;
    else
        id_ := card_id(project_, prefix, card_);
    end if;
    select * into old from cards k where k.id = id_ and k.project_id = project_ and k.deleted_at is null for no key update;
    if old.id is null then
        perform refuse(404, 'card not found');
    end if;
    if version_ <> old.version then
        perform require_version(version_, old.version, conflict_status_, 'card', card_json(old.id));
    end if;
    if fields_ ? 'was' and (
        fields_ #>> '{was,title}' <> old.title or fields_ #>> '{was,description}' <> old.description
    ) then
        perform refuse(409, 'card was changed by someone else',
            json_build_object('code', 'version_conflict', 'current', card_json(old.id)));
    end if;
    c := old;
    if fields_ ? 'title' then
        c.title := fields_ ->> 'title';
        if c.title <> old.title then
            changes := changes || tell_field(
                c, actor_, 'title_changed', 'title', old.title, c.title, left(old.title || ' → ' || c.title, 500)
            );
        end if;
    end if;
    if fields_ ? 'description' then
        c.description := coalesce(fields_ ->> 'description', '');
        if c.description <> old.description then
            changes := changes || tell_field(c, actor_, 'description_changed', 'description', null, null, '');
        end if;
    end if;
    if fields_ ? 'priority' then
        c.priority := coalesce(fields_ ->> 'priority', 'none');
        if c.priority <> old.priority then
            changes := changes || tell_field(
                c, actor_, 'priority_changed', 'priority', old.priority, c.priority, old.priority || ' → ' || c.priority
            );
        end if;
    end if;
    if fields_ ? 'start_date' then
        c.start_date := (fields_ ->> 'start_date')::date;
        if c.start_date is distinct from old.start_date then
            changes := changes || tell_field(
                c, actor_, 'start_date_changed', 'start_date', old.start_date::text, c.start_date::text,
                coalesce(old.start_date::text, '–') || ' → ' || coalesce(c.start_date::text, '–')
            );
        end if;
    end if;
    if fields_ ? 'due_date' then
        c.due_date := (fields_ ->> 'due_date')::date;
        if c.due_date is distinct from old.due_date then
            changes := changes || tell_field(
                c, actor_, 'due_date_changed', 'due_date', old.due_date::text, c.due_date::text,
                coalesce(old.due_date::text, '–') || ' → ' || coalesce(c.due_date::text, '–')
            );
        end if;
    end if;
    if c.due_date < c.start_date and (c.due_date, c.start_date) is distinct from (old.due_date, old.start_date) then
        perform refuse(422, 'due_date: before start_date', '{"fields":{"due_date":"conflicting"}}');
    end if;
    if fields_ ? 'closed' then
        c.closed := (fields_ ->> 'closed')::boolean;
        if c.closed <> old.closed then
            changes := changes || tell_field(
                c, actor_, case when c.closed then 'closed' else 'reopened' end, 'closed', old.closed::text, c.closed::text, ''
            );
        end if;
    end if;
    if fields_ ? 'time_spent_minutes' then
        c.time_spent_minutes := (fields_ ->> 'time_spent_minutes')::integer;
        c.manual_minutes := old.manual_minutes + c.time_spent_minutes - old.time_spent_minutes;
        if c.manual_minutes < 0 then
            perform refuse(
                422, 'time_spent_minutes: less than the time logged on the card',
                json_build_object(
                    'fields', json_build_object('time_spent_minutes', 'out_of_range'),
                    'limits', json_build_object(
                        'time_spent_minutes', json_build_object('min', old.time_spent_minutes - old.manual_minutes)
                    )
                )
            );
        end if;
        if c.time_spent_minutes <> old.time_spent_minutes then
            changes := changes || tell_field(
                c, actor_, 'time_logged', 'time_spent_minutes', old.time_spent_minutes::text, c.time_spent_minutes::text,
                old.time_spent_minutes || ' → ' || c.time_spent_minutes || ' minutes'
            );
        end if;
    end if;
    if fields_ ? 'column_id' and (fields_ ->> 'column_id')::bigint <> old.column_id then
        c.column_id := (fields_ ->> 'column_id')::bigint;
        perform lock_column(project_, c.column_id, 422);
        spot := place_in(c.column_id, c.id, null, null, null, null);
        c.position := spot.place;
    end if;
    if fields_ ?| array[
        'assignee_ids', 'add_assignee_ids', 'remove_assignee_ids', 'label_ids', 'add_label_ids', 'remove_label_ids',
        'tags', 'add_tags', 'remove_tags'
    ] then
        if fields_ ?| array['assignee_ids', 'add_assignee_ids'] then
            assigned := array(select a.user_id from card_assignees a where a.card_id = c.id);
        end if;
        changes := changes || write_lists(project_, c.id, fields_, actor_, false);
    end if;
    is_moved := c.column_id <> old.column_id;
    is_changed := is_moved or changes <> '{}';
    if is_changed then
        update cards k set
            title = c.title, description = c.description, priority = c.priority, start_date = c.start_date, due_date = c.due_date,
            closed = c.closed,
            closed_at = case when not c.closed then null when old.closed then old.closed_at else clock_timestamp() end,
            time_spent_minutes = c.time_spent_minutes, manual_minutes = c.manual_minutes,
            column_id = c.column_id, position = c.position, version = k.version + 1, updated_at = clock_timestamp()
        where k.id = c.id returning * into c;
        noted := note_card(c, actor_, assigned, changes, is_moved, true);
        if is_moved then
            insert into card_history (project_id, card_id, user_id, event_type, from_column_id, to_column_id)
            values (project_, c.id, actor_, 'column_move', old.column_id, c.column_id);
        end if;
    end if;
    if comment_ is not null then
        insert into card_comments (project_id, card_id, user_id, body) values (project_, c.id, actor_, comment_) returning * into m;
        perform tell_part(project_, c.id, actor_, 'comment_added');
        update cards k set comment_count = k.comment_count + 1 where k.id = c.id returning * into c;
        noted := noted || note_comment(c, m, names_);
        changes := changes || 'comment_count'::text;
    end if;
    if is_moved or comment_ is not null then
        seqs := take_seqs(array_fill(
            channel_, array[is_moved::integer + (changes <> '{}')::integer + (comment_ is not null)::integer]
        ));
    elsif is_changed then
        seqs[1] := take_seq(channel_);
    end if;
    card := card_json(c, prefix);
    if changes <> '{}' then
        payload := card_updated_payload(changes, card);
    end if;
    if is_moved or comment_ is not null then
        messages := write_events(
            case when is_moved then array[card_moved(c, old.column_id, card::json)] else '{}' end
            || case when payload is null then '{}' else array[row(channel_, 'board.card_updated', payload, entity('card', c.id))::new_event] end
            || case
                when comment_ is null then '{}'
                else array[row(
                    channel_, 'board.comment_created', shape(m)::text, entity(entity('card', c.id), 'comment', m.id)
                )::new_event]
            end,
            actor_, client_, seqs
        );
    elsif payload is not null then
        messages := write_event(seqs[1], channel_, 'board.card_updated', payload, entity('card', c.id), actor_, client_);
    end if;
    messages := messages || tell_notifications(noted);
    status := 200;
    answer := case shows_
        when 'detail' then card_detail(c, actor_, card)
        when 'card' then card
        when 'ticket' then joined('{"comment":' || case when comment_ is null then 'null' else shape(m)::text end || '}', card)
        else card::json ->> shows_
    end;
end
$$;

-- Puts a card at another place: of `column_`, or of its own column when that is null. The same place is no event.
create or replace function move_card(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, card_ text, column_ bigint, index_ integer, position_ double precision, before_ bigint, after_ bigint,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    prefix text;
    held record;
    c cards;
    from_ bigint;
    spot record;
    card json;
    channel_ text := 'project:' || project_;
    spaced new_event[];
    noted bigint[] := '{}';
    seqs bigint[];
begin
    messages := '{}';
    prefix := require_writer(actor_, project_, need_);
    held := hold_card(project_, prefix, card_, coalesce(column_, 0));
    if version_ <> held.version then
        perform require_version(version_, held.version, conflict_status_, 'card', card_json(held.id));
    end if;
    from_ := held.column_id;
    column_ := coalesce(column_, from_);
    perform lock_column(project_, column_, 422);
    spot := place_in(column_, held.id, index_, position_, before_, after_);
    if column_ <> from_ or spot.low >= held.place or spot.high <= held.place then
        update cards k set
            column_id = column_, position = spot.place, version = k.version + 1, updated_at = clock_timestamp()
        where k.id = held.id returning * into c;
        if column_ <> from_ then
            insert into card_history (project_id, card_id, user_id, event_type, from_column_id, to_column_id)
            values (project_, held.id, actor_, 'column_move', from_, column_);
            noted := note_card(c, actor_, null, '{}', true, false);
        end if;
        if is_crowded(spot.place, spot.low, spot.high) then
            spaced := space_cards(project_, column_, spot.place, spot.low, spot.high);
            select k.position into c.position from cards k where k.id = c.id;
            seqs := take_seqs(array_fill(channel_, array[1 + cardinality(spaced)]));
            card := card_json(c, prefix);
            messages := write_events(card_moved(c, from_, card) || spaced, actor_, client_, seqs);
        else
            seqs[1] := take_seq(channel_);
            card := card_json(c, prefix);
            messages := write_event(
                seqs[1], channel_, 'board.card_moved',
                card_moved_payload(c, prefix || '-' || c.card_number, from_, card), entity('card', c.id), actor_, client_
            );
        end if;
        messages := messages || tell_notifications(noted);
    else
        card := card_json(held.id);
    end if;
    status := 200;
    answer := card::text;
end
$$;

-- Takes a card off the board into the archive, or puts it back at the end of its column. Where it is already is no event.
create or replace function archive_card(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, card_ text, archived_ boolean,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    prefix text;
    held record;
    old cards;
    c cards;
    spot record;
    channel_ text := 'project:' || project_;
    seq_ bigint;
begin
    messages := '{}';
    prefix := require_writer(actor_, project_, need_);
    held := hold_card(project_, prefix, card_, null);
    if version_ <> held.version then
        perform require_version(version_, held.version, conflict_status_, 'card', card_json(held.id));
    end if;
    select * into old from cards k where k.id = held.id;
    if (old.archived_at is not null) <> archived_ then
        spot := place_in(old.column_id, old.id, null, null, null, null);
        update cards k set
            archived_at = case when archived_ then clock_timestamp() end,
            position = case when archived_ then k.position else spot.place end,
            version = k.version + 1, updated_at = clock_timestamp()
        where k.id = old.id returning * into c;
        insert into card_history (project_id, card_id, user_id, event_type)
        values (project_, c.id, actor_, case when archived_ then 'archived' else 'unarchived' end);
        seq_ := take_seq(channel_);
        answer := card_json(c, prefix);
        messages := write_event(
            seq_, channel_, 'board.card_updated',
            card_updated_payload(
                array['archived_at'] || case when c.position <> old.position then array['position'] else '{}' end, answer
            ),
            entity('card', c.id), actor_, client_
        );
    else
        answer := card_json(old, prefix);
    end if;
    status := 200;
end
$$;

-- A copy of a card at the end of its column: what it says, its checklist, labels, tags and assignees, but for those who could
-- not be assigned now.
create or replace function copy_card(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer, project_ bigint, card_ text,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    prefix text;
    held record;
    fields_ jsonb;
begin
    prefix := require_writer(actor_, project_, need_);
    held := hold_card(project_, prefix, card_, null);
    if version_ <> held.version then
        perform require_version(version_, held.version, conflict_status_, 'card', card_json(held.id));
    end if;
    perform 1 from labels b where b.id in (select cl.label_id from card_labels cl where cl.card_id = held.id) order by b.id for share;
    select jsonb_build_object(
        'title', left(c.title, 493) || ' (copy)', 'description', c.description, 'priority', c.priority,
        'start_date', c.start_date, 'due_date', c.due_date,
        'assignee_ids', array(
            select a.user_id from card_assignees a
            inner join users u on u.id = a.user_id
            left join project_members m on m.project_id = project_ and m.user_id = a.user_id
            where a.card_id = c.id and u.is_active and u.deleted_at is null and (m.id is not null or u.global_role = 'admin')
            order by a.created_at, a.user_id
        ),
        'label_ids', array(select cl.label_id from card_labels cl where cl.card_id = c.id order by cl.label_id),
        'tags', array(select ct.name from card_tags ct where ct.card_id = c.id order by ct.id),
        'checklist_of', c.id
    ) into fields_ from cards c where c.id = held.id;
    select r.status, r.answer, r.messages into status, answer, messages
    from create_card(
        actor_, client_, need_, null, conflict_status_, project_, held.column_id, fields_, null, null, null, null
    ) r;
end
$$;

-- The same for many cards, all or none: in board order, each that changes with its own event. `column_id` moves them to that
-- column's end and stands alone; the other keys are as in update_card, and `archived` as in archive_card.
create or replace function update_cards(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, ids_ bigint[], fields_ jsonb, bytes_ bigint,
    out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    channel_ text := 'project:' || project_;
    prefix text;
    target_ bigint := (fields_ ->> 'column_id')::bigint;
    archived_ boolean := (fields_ ->> 'archived')::boolean;
    missing bigint;
    ordered bigint[];
    id_ bigint;
    old cards;
    c cards;
    changes text[];
    assigned bigint[];
    noted bigint[] := '{}';
    changed bigint[] := '{}';
    froms bigint[] := '{}';
    told text[] := '{}';
    seqs bigint[];
    shown json[];
begin
    messages := '{}';
    prefix := require_writer(actor_, project_, need_);
    if target_ is not null or archived_ is not null then
        perform 1 from columns k where k.project_id = project_ and k.deleted_at is null order by k.id for no key update;
    end if;
    if target_ is not null then
        perform lock_column(project_, target_, 422);
    end if;
    perform 1 from cards k where k.id = any(ids_) and k.project_id = project_ and k.deleted_at is null
    order by k.id for no key update;
    select i into missing from unnest(ids_) i
    where not exists (select 1 from cards k where k.id = i and k.project_id = project_ and k.deleted_at is null) limit 1;
    if missing is not null then
        perform refuse(422, 'ids: no card ' || missing || ' in this project', '{"fields":{"ids":"unknown"}}');
    end if;
    if (select sum(octet_length(k.title) + octet_length(k.description)) from cards k where k.id = any(ids_)) > bytes_ then
        perform refuse(422, 'ids: the texts of these cards are too long for one change', '{"fields":{"ids":"too_long"}}');
    end if;
    ordered := array(
        select k.id from cards k inner join columns o on o.id = k.column_id
        where k.id = any(ids_) order by o.position, o.id, k.position, k.id
    );
    foreach id_ in array ordered loop
        select * into old from cards k where k.id = id_;
        c := old;
        changes := '{}';
        if fields_ ? 'priority' then
            c.priority := fields_ ->> 'priority';
            if c.priority <> old.priority then
                changes := changes || tell_field(
                    c, actor_, 'priority_changed', 'priority', old.priority, c.priority, old.priority || ' → ' || c.priority
                );
            end if;
        end if;
        if fields_ ? 'closed' then
            c.closed := (fields_ ->> 'closed')::boolean;
            if c.closed <> old.closed then
                changes := changes || tell_field(
                    c, actor_, case when c.closed then 'closed' else 'reopened' end, 'closed', old.closed::text, c.closed::text, ''
                );
            end if;
        end if;
        if (old.archived_at is not null) <> archived_ then
            c.archived_at := case when archived_ then clock_timestamp() end;
            if not archived_ then
                c.position := (place_in(c.column_id, c.id, null, null, null, null)).place;
            end if;
            insert into card_history (project_id, card_id, user_id, event_type)
            values (project_, c.id, actor_, case when archived_ then 'archived' else 'unarchived' end);
            changes := changes || array['archived_at'] || case when c.position <> old.position then array['position'] else '{}' end;
        end if;
        if target_ <> old.column_id then
            c.column_id := target_;
            c.position := (place_in(target_, c.id, null, null, null, null)).place;
            insert into card_history (project_id, card_id, user_id, event_type, from_column_id, to_column_id)
            values (project_, c.id, actor_, 'column_move', old.column_id, target_);
        end if;
        if fields_ ?| array['assignee_ids', 'add_label_ids', 'remove_label_ids'] then
            if fields_ ? 'assignee_ids' then
                assigned := array(select a.user_id from card_assignees a where a.card_id = c.id);
            end if;
            changes := changes || write_lists(project_, c.id, fields_, actor_, false);
        end if;
        if changes <> '{}' or c.column_id <> old.column_id then
            update cards k set
                priority = c.priority, closed = c.closed,
                closed_at = case when not c.closed then null when old.closed then old.closed_at else clock_timestamp() end,
                archived_at = c.archived_at, column_id = c.column_id, position = c.position,
                version = k.version + 1, updated_at = clock_timestamp()
            where k.id = c.id;
            noted := noted || note_card(c, actor_, assigned, changes, c.column_id <> old.column_id, true);
            changed := changed || c.id;
            froms := froms || old.column_id;
            told := told || to_json(changes)::text;
        end if;
    end loop;
    if changed <> '{}' then
        seqs := take_seqs(array_fill(channel_, array[cardinality(changed)]));
    end if;
    select array_agg(j.card order by n.nth) into shown
    from unnest(ordered) with ordinality n (id, nth) inner join cards_json(ordered) j on j.id = n.id;
    if changed <> '{}' then
        messages := write_events(
            array(
                select
                    case
                        when target_ is null then row(
                            channel_, 'board.card_updated',
                            joined('{"changes":' || t.changes || '}', without_description(s.card::text)), entity('card', t.id)
                        )::new_event
                        else card_moved(k, t.from_id, s.card)
                    end
                from unnest(changed, froms, told) with ordinality t (id, from_id, changes, nth)
                inner join unnest(ordered, shown) s (id, card) on s.id = t.id
                inner join cards k on k.id = t.id
                order by t.nth
            ),
            actor_, client_, seqs
        ) || tell_notifications(first_of_each(noted));
    end if;
    answer := '{"cards":' || array_to_json(shown)::text || '}';
end
$$;
