-- A card that goes to another project, or a copy of it. Planned like the changes of cards.

-- Enters two projects, the first by its id first, and locks the actor's memberships in the same order: whoever transfers the other
-- way does the same. Without a second one the first is entered.
create or replace function enter_two_projects(actor_ bigint, project_ bigint, target_ bigint) returns void language plpgsql as $$
begin
    perform enter_project(e.id) from (
        select x.id from unnest(array[project_, target_]) x (id) where x.id is not null order by 1 offset 0
    ) e;
    perform 1 from project_members m
    where m.user_id = actor_ and m.project_id in (project_, target_) order by m.project_id for share;
end
$$;

-- The other project, if it is another one and the actor has the role there. The body names it, so to strangers it is 422.
create or replace function require_target(actor_ bigint, project_ bigint, target_ bigint, need_ text) returns projects
language plpgsql as $$
begin
    if target_ is null or not sees_project(actor_, target_) then
        perform refuse(422, 'project not found', '{"fields":{"target_project_slug":"unknown"}}');
    end if;
    if target_ = project_ then
        perform refuse(422, 'target_project_slug: the card is in this project already',
            '{"fields":{"target_project_slug":"conflicting"}}');
    end if;
    return require_role(actor_, target_, need_);
end
$$;

-- Locks a live card of one project, its column and a column of another, columns by their ids as all changes do.
create or replace function hold_for_transfer(p projects, card_ text, target_ bigint, column_ bigint) returns cards
language plpgsql as $$
declare
    id_ bigint := card_id(p, card_);
    from_ bigint := (select k.column_id from cards k where k.id = id_);
    c cards;
begin
    perform 1 from columns k
    where k.id in (from_, column_) and k.project_id in (p.id, target_) order by k.id for no key update;
    -- Alone: its number and its project are keys.
    select * into c from cards k where k.id = id_ and k.project_id = p.id and k.deleted_at is null for update;
    if c.id is null then
        perform refuse(404, 'card not found');
    end if;
    if c.column_id <> from_ then
        perform 1 from columns k where k.id = c.column_id for no key update nowait;
    end if;
    perform lock_column(target_, column_, 422);
    return c;
end
$$;

-- The labels of another project that are called like those of a card, locked; which have no other name as long as their projects
-- are entered.
create or replace function labels_called_alike(card_ bigint, target_ bigint) returns bigint[] language plpgsql as $$
begin
    perform 1 from labels b where b.id in (select cl.label_id from card_labels cl where cl.card_id = card_) order by b.id for share;
    perform 1 from labels b
    where b.project_id = target_ and b.deleted_at is null and lower(b.name) in (
        select lower(own.name) from card_labels cl inner join labels own on own.id = cl.label_id
        where cl.card_id = card_ and own.deleted_at is null
    ) order by b.id for share;
    return array(
        select b.id from card_labels cl
        inner join labels own on own.id = cl.label_id and own.deleted_at is null
        inner join labels b on b.project_id = target_ and lower(b.name) = lower(own.name) and b.deleted_at is null
        where cl.card_id = card_ order by b.id
    );
end
$$;

-- Those of these people who are members of a project, and administrators.
create or replace function with_access(project_ bigint, people_ bigint[]) returns bigint[] language sql stable as $$
select coalesce(array_agg(p.id order by p.nth), '{}')
from unnest(people_) with ordinality p (id, nth)
inner join users u on u.id = p.id
left join project_members m on m.project_id = project_ and m.user_id = u.id
where u.is_active and u.deleted_at is null and (m.id is not null or u.global_role = 'admin')
$$;

-- Everybody whom a card shows in its project from now on, and who is no member there, is a guest of it.
create or replace function add_guests_of(c cards) returns void language plpgsql as $$
declare
    guest bigint;
begin
    for guest in
        select s.id from (
            select c.created_by_id as id
            union select m.user_id from card_comments m where m.card_id = c.id and m.deleted_at is null
            union select m.user_id from card_comments m where m.card_id = c.id and m.deleted_at is not null
            union select h.user_id from card_history h where h.card_id = c.id
            union select t.user_id from time_entries t where t.card_id = c.id
            union select a.user_id from card_assignees a where a.card_id = c.id
            union select w.user_id from card_watchers w where w.card_id = c.id
        ) s
        where s.id is not null
            and not exists (select 1 from project_members m where m.project_id = c.project_id and m.user_id = s.id)
            and not exists (select 1 from project_guests g where g.project_id = c.project_id and g.user_id = s.id)
        order by s.id
    loop
        -- As many as a person may be a member of: others cannot make somebody a guest of more.
        if exists (select 1 from project_guests g where g.user_id = guest offset 4999) then
            perform refuse(422, 'user ' || guest || ', whom this card shows, is shown in too many projects', '{"code":"too_many_projects"}');
        end if;
        perform add_guest(c.project_id, guest);
    end loop;
end
$$;

-- Puts a card at the end of a column of another project: the row itself, with a new number and all that hangs on it, or, `copies_`,
-- a copy of what copy_card copies. Labels are found by their names there; who has no access there is taken from it. The key of
-- before leads to it still. It is deleted where it was, for all who follow that project.
create or replace function transfer_card(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, card_ text, target_ bigint, column_ bigint, copies_ boolean, most_bytes_ bigint,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    source projects;
    target projects;
    old cards;
    c cards;
    labels_ bigint[];
    assignees_ bigint[];
    watchers_ bigint[];
    number_ integer;
    place_ double precision;
    seqs bigint[];
begin
    perform enter_two_projects(actor_, project_, target_);
    source := require_role(actor_, project_, need_);
    -- What the path names is asked for before what the body does, and again when it is locked.
    select * into old from cards k
    where k.id = card_id(source, card_) and k.project_id = project_ and k.deleted_at is null;
    if old.id is null then
        perform refuse(404, 'card not found');
    end if;
    if version_ <> old.version then
        perform require_version(version_, old.version, conflict_status_, 'card', card_json(old.id));
    end if;
    target := require_target(actor_, project_, target_, need_);
    old := hold_for_transfer(source, card_, target_, column_);
    if version_ <> old.version then
        perform require_version(version_, old.version, conflict_status_, 'card', card_json(old.id));
    end if;
    assignees_ := with_access(
        target_, array(select a.user_id from card_assignees a where a.card_id = old.id order by a.created_at, a.user_id)
    );
    if copies_ then
        labels_ := labels_called_alike(old.id, target_);
        select r.status, r.answer, r.messages into status, answer, messages
        from create_card(
            actor_, client_, need_, null, conflict_status_, target_, column_,
            jsonb_build_object(
                'title', old.title, 'description', old.description, 'priority', old.priority,
                'start_date', old.start_date, 'due_date', old.due_date, 'assignee_ids', assignees_, 'label_ids', labels_,
                'tags', array(select ct.name from card_tags ct where ct.card_id = old.id order by ct.id),
                'checklist_of', old.id
            ), null, null, null, null
        ) r;
        return;
    end if;
    watchers_ := with_access(target_, array(select w.user_id from card_watchers w where w.card_id = old.id));
    place_ := (place_in(column_, old.id, null, null, null, null)).place;
    update projects set card_counter = card_counter + 1 where id = target_ returning card_counter into number_;
    labels_ := labels_called_alike(old.id, target_);
    delete from card_labels cl where cl.card_id = old.id;
    delete from card_assignees a where a.card_id = old.id and a.user_id <> all(assignees_);
    delete from card_watchers w where w.card_id = old.id and w.user_id <> all(watchers_);
    update cards k set
        project_id = target_, column_id = column_, card_number = number_, position = place_,
        version = k.version + 1, updated_at = clock_timestamp()
    where k.id = old.id returning * into c;
    insert into card_labels (card_id, label_id) select c.id, l from unnest(labels_) l order by l;
    insert into card_key_aliases (key_prefix, card_number, card_id) values (source.key_prefix, old.card_number, c.id);
    -- Live and deleted ones each by their own index; for both at once the table would be read.
    update card_comments m set project_id = target_ where m.card_id = c.id and m.deleted_at is null;
    update card_comments m set project_id = target_ where m.card_id = c.id and m.deleted_at is not null;
    update card_history h set project_id = target_ where h.card_id = c.id;
    update time_entries t set project_id = target_ where t.card_id = c.id;
    insert into card_history (project_id, card_id, user_id, event_type, field, from_value, to_value, detail, to_column_id)
    select
        target_, c.id, actor_, 'project_moved', 'project', k.old_key, k.new_key, k.old_key || ' → ' || k.new_key, column_
    from (select source.key_prefix || '-' || old.card_number as old_key, target.key_prefix || '-' || c.card_number as new_key) k;
    perform add_guests_of(c);
    perform require_room(target_, null, array(select a.size_bytes from attachments a where a.card_id = c.id), most_bytes_);
    update attachments a set project_id = target_ where a.card_id = c.id;
    seqs := take_seqs(array['project:' || project_, 'project:' || target_]);
    answer := card_json(c, target.key_prefix);
    messages := write_events(
        array[
            row(
                'project:' || project_, 'board.card_deleted',
                row_to_json(row(
                    c.id, old.column_id, source.key_prefix || '-' || old.card_number, target.key_prefix || '-' || c.card_number
                )::card_gone_shape)::text,
                entity('card', c.id)
            )::new_event,
            row('project:' || target_, 'board.card_created', card_begun(c, answer), entity('card', c.id))::new_event
        ], actor_, client_, seqs
    ) || forget_notifications(
        actor_, entity(entity('notified', project_), 'card', c.id),
        array(select n.id from notifications n where n.card_id = c.id)
    );
    status := 201;
end
$$;
