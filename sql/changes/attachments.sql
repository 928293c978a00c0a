-- Files of cards, comments and messages. Planned like the changes of cards. A file shows nobody by name, so its shape may come before its seq.

-- Refuses files that are more than a project, or a conversation, may hold. One after the other, so that two at once are not
-- more than that together; who holds it waits for nothing but feeds.
create or replace function require_room(project_ bigint, conversation_ bigint, sizes_ bigint[], most_ bigint) returns void
language plpgsql as $$
declare
    used bigint;
begin
    if project_ is not null then
        perform pg_advisory_xact_lock(3, (project_ % 2147483647)::integer);
        select sum(a.size_bytes) into used from attachments a where a.project_id = project_;
    else
        perform pg_advisory_xact_lock(4, (conversation_ % 2147483647)::integer);
        select sum(a.size_bytes) into used from attachments a where a.conversation_id = conversation_;
    end if;
    if coalesce(used, 0) + (select sum(s.size) from unnest(sizes_) s (size)) > most_ then
        perform refuse(413, 'there is no room for it: all files here may have ' || most_ || ' bytes', '{"code":"quota_exceeded"}');
    end if;
end
$$;

-- Puts files on a card.
create or replace function attach_to_card(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, card_ text, stored_names_ text[], filenames_ text[], mime_types_ text[], sizes_ bigint[], digests_ text[],
    most_ integer, most_bytes_ bigint,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    prefix text;
    c cards;
    id_ bigint;
    file text;
    made text[] := '{}';
    events_ new_event[] := '{}';
begin
    prefix := require_writer(actor_, project_, need_);
    c.id := hold_part(project_, prefix, card_);
    update cards k set attachment_count = k.attachment_count + cardinality(stored_names_) where k.id = c.id returning * into c;
    if c.attachment_count > most_ then
        perform refuse(413, 'a card has at most ' || most_ || ' files', '{"code":"too_many_files"}');
    end if;
    perform require_room(project_, null, sizes_, most_bytes_);
    for id_, file in
        select f.id, f.file from add_files(
            project_, null, c.id, 'card', c.id, actor_, stored_names_, filenames_, mime_types_, sizes_, digests_
        ) f
    loop
        perform tell_part(project_, c.id, actor_, 'attachment_added');
        made := made || file;
        events_ := events_ || row(
            'project:' || project_, 'board.attachment_added', joined('{"card_id":' || c.id || '}', file),
            entity(entity('card', c.id), 'attachment', id_)
        )::new_event;
    end loop;
    status := 201;
    answer := uploaded(made);
    messages := tell_card(c, prefix, events_, array['attachment_count'], actor_, client_);
end
$$;

-- Takes a file off a card: one's own, or another's as a project admin.
create or replace function detach_from_card(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, card_ text, attachment_ bigint,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    prefix text;
    c cards;
    uploader bigint;
begin
    prefix := require_writer(actor_, project_, need_);
    c.id := hold_part(project_, prefix, card_);
    delete from attachments a where a.id = attachment_ and a.owner_type = 'card' and a.owner_id = c.id
    returning a.uploader_id into uploader;
    if uploader is null then
        perform refuse(404, 'attachment not found');
    end if;
    if uploader <> actor_ then
        perform require_role(actor_, project_, 'admin');
    end if;
    update cards k set attachment_count = k.attachment_count - 1 where k.id = c.id returning * into c;
    perform tell_part(project_, c.id, actor_, 'attachment_removed');
    status := 204;
    answer := '';
    messages := tell_card(
        c, prefix,
        array[
            row(
                'project:' || project_, 'board.attachment_removed', '{"id":' || attachment_ || ',"card_id":' || c.id || '}',
                entity(entity('card', c.id), 'attachment', attachment_)
            )::new_event
        ], array['attachment_count'], actor_, client_
    );
end
$$;

-- Uploads that nothing has yet

-- Locks uploads that the actor made for this project, or conversation, and that nothing has; says whether these are all. They
-- are locked before the feeds.
create or replace function lock_uploads(actor_ bigint, project_ bigint, conversation_ bigint, ids_ bigint[]) returns boolean
language plpgsql as $$
declare
    held integer;
begin
    perform 1 from attachments a
    where a.id = any(ids_) and a.owner_type is null and a.uploader_id = actor_
        and (a.project_id = project_ or a.conversation_id = conversation_)
    order by a.id for update;
    get diagnostics held = row_count;
    return held = cardinality(ids_);
end
$$;

create or replace function refuse_uploads() returns void language sql as $$
select refuse(422, 'attachment_ids: there is no such upload of yours here, or something has it already',
    '{"fields":{"attachment_ids":"unknown"}}')
$$;

-- The same for what is going to be written, which gets them: refused unless these are all.
create or replace function hold_uploads(actor_ bigint, project_ bigint, conversation_ bigint, ids_ bigint[]) returns void
language plpgsql as $$
begin
    if ids_ <> '{}' and not lock_uploads(actor_, project_, conversation_, ids_) then
        perform refuse_uploads();
    end if;
end
$$;

-- Gives locked uploads to what was just written.
create or replace function give_uploads(owner_type_ text, owner_ bigint, card_ bigint, ids_ bigint[]) returns void
language plpgsql as $$
begin
    if ids_ <> '{}' then
        update attachments a set owner_type = owner_type_, owner_id = owner_, card_id = card_ where a.id = any(ids_);
    end if;
end
$$;

-- Whether a comment or a message has files.
create or replace function has_files(owner_type_ text, owner_ bigint) returns boolean language sql stable as $$
select exists (select 1 from attachments a where a.owner_type = owner_type_ and a.owner_id = owner_)
$$;

-- Keeps files that came for a project or a conversation until something takes them. Nobody is told. A person has at most
-- `most_` of them: else one could fill a place that others need with what is nowhere seen.
create or replace function keep_uploads(
    actor_ bigint, project_ bigint, conversation_ bigint,
    stored_names_ text[], filenames_ text[], mime_types_ text[], sizes_ bigint[], digests_ text[], most_ integer, most_bytes_ bigint,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
begin
    if project_ is not null then
        perform require_writer(actor_, project_, 'member');
    else
        perform require_participant(actor_, conversation_);
    end if;
    perform pg_advisory_xact_lock(5, (actor_ % 2147483647)::integer);
    if (select count(*) from attachments a where a.uploader_id = actor_ and a.owner_type is null) + cardinality(sizes_) > most_ then
        perform refuse(
            413, 'you may have ' || most_ || ' uploads that nothing has yet: send some, or delete them', '{"code":"too_many_files"}'
        );
    end if;
    perform require_room(project_, conversation_, sizes_, most_bytes_);
    status := 201;
    answer := uploaded(array(
        select f.file from add_files(
            project_, conversation_, null, null, null, actor_, stored_names_, filenames_, mime_types_, sizes_, digests_
        ) f
    ));
    messages := '{}';
end
$$;

-- Writes the rows of files that came, in their order; gives each as it is shown.
create or replace function add_files(
    project_ bigint, conversation_ bigint, card_ bigint, owner_type_ text, owner_ bigint, uploader_ bigint,
    stored_names_ text[], filenames_ text[], mime_types_ text[], sizes_ bigint[], digests_ text[]
) returns table (id bigint, file text) language sql as $$
insert into attachments as a (
    project_id, conversation_id, card_id, owner_type, owner_id, uploader_id, stored_name, filename, mime_type, size_bytes, sha256
)
select project_, conversation_, card_, owner_type_, owner_, uploader_, f.stored_name, f.filename, f.mime_type, f.size, f.digest
from unnest(stored_names_, filenames_, mime_types_, sizes_, digests_) with ordinality
f (stored_name, filename, mime_type, size, digest, nth)
order by f.nth
returning a.id, shape(a)::text
$$;

-- The answer to an upload: the file; of several the first, with all of them.
create or replace function uploaded(made_ text[]) returns text language sql immutable as $$
select case
    when cardinality(made_) = 1 then made_[1]
    else joined('{"attachments":[' || array_to_string(made_, ',') || ']}', made_[1])
end
$$;

-- Files of comments and messages

-- Locks a card that was found by what hangs on it, in an entered project. It may have gone to another project since: then the
-- change starts again, and finds it there.
create or replace function stay_in(project_ bigint, card_ bigint) returns void language plpgsql as $$
declare
    place bigint;
begin
    select k.project_id into place from cards k where k.id = card_ for no key update;
    if place <> project_ then
        raise exception using errcode = '40001', message = 'the card went to another project meanwhile';
    end if;
end
$$;

-- Enters where a comment or a message is, and locks it: 404 where there is none for the actor. Gives whose it is.
create or replace function hold_owner(
    actor_ bigint, owner_type_ text, owner_ bigint,
    out author bigint, out project bigint, out conversation bigint, out card bigint
) language plpgsql as $$
declare
    prefix text;
    noun text := case owner_type_ when 'card_comment' then 'comment' else 'message' end;
begin
    if owner_type_ = 'card_comment' then
        select m.project_id, m.card_id into project, card from card_comments m where m.id = owner_ and m.deleted_at is null;
    elsif owner_type_ = 'chat_message' then
        select m.project_id into project from chat_messages m where m.id = owner_ and not m.is_deleted;
    else
        select m.conversation_id into conversation from conversation_messages m where m.id = owner_ and not m.is_deleted;
    end if;
    if project is not null and sees_project(actor_, project) then
        prefix := require_writer(actor_, project, 'member');
        if owner_type_ = 'card_comment' then
            perform stay_in(project, card);
            author := (lock_comment(hold_part(project, prefix, card::text), owner_)).user_id;
        else
            select m.user_id into author from chat_messages m where m.id = owner_ and not m.is_deleted for no key update;
        end if;
    elsif exists (select 1 from conversation_members m where m.conversation_id = conversation and m.user_id = actor_) then
        perform require_participant(actor_, conversation);
        select m.sender_id into author from conversation_messages m where m.id = owner_ and not m.is_deleted for no key update;
    end if;
    if author is null then
        perform refuse(404, noun || ' not found');
    end if;
end
$$;

-- Ends a change of the files of a locked comment or message: it has another version, and who sees it is told. It is shaped when
-- the seqs are taken.
create or replace function tell_owner(
    owner_type_ text, owner_ bigint, project_ bigint, conversation_ bigint, card_ bigint, actor_ bigint, client_ text
) returns text[] language plpgsql as $$
declare
    channels text[] := array['project:' || project_];
    type_ text;
    payload text;
    told_of text;
    seqs bigint[];
begin
    if owner_type_ = 'card_comment' then
        update card_comments m set version = m.version + 1, updated_at = clock_timestamp() where m.id = owner_;
        seqs := take_seqs(channels);
        type_ := 'board.comment_updated';
        payload := (select shape(m)::text from card_comments m where m.id = owner_);
        told_of := entity(entity('card', card_), 'comment', owner_);
    elsif owner_type_ = 'chat_message' then
        update chat_messages m set version = m.version + 1, updated_at = clock_timestamp() where m.id = owner_;
        seqs := take_seqs(channels);
        type_ := 'chat.message_updated';
        payload := (select j.message::text from messages_json(array[owner_]) j);
        told_of := entity('message', owner_);
    else
        update conversation_messages m set version = m.version + 1, updated_at = clock_timestamp() where m.id = owner_;
        channels := array(
            select 'user:' || m.user_id from conversation_members m where m.conversation_id = conversation_ order by m.user_id
        );
        seqs := take_seqs(channels);
        type_ := 'dm.message_updated';
        payload := (select j.message::text from conversation_messages_json(array[owner_]) j);
        told_of := entity(entity('conversation', conversation_), 'message', owner_);
    end if;
    return write_events(
        array(
            select row(c.channel, type_, payload, told_of)::new_event
            from unnest(channels) with ordinality c (channel, nth)
            order by c.nth
        ), actor_, client_, seqs
    );
end
$$;

-- Puts files on one's own comment or message.
create or replace function attach_to_owner(
    actor_ bigint, client_ text, owner_type_ text, owner_ bigint,
    stored_names_ text[], filenames_ text[], mime_types_ text[], sizes_ bigint[], digests_ text[],
    most_ integer, most_bytes_ bigint,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    held record;
begin
    select * into held from hold_owner(actor_, owner_type_, owner_);
    if held.author <> actor_ then
        perform refuse(403, 'only its author may put files on it');
    end if;
    if cardinality(stored_names_) + (
        select count(*) from attachments a where a.owner_type = owner_type_ and a.owner_id = owner_
    ) > most_ then
        perform refuse(413, 'a comment or a message has at most ' || most_ || ' files', '{"code":"too_many_files"}');
    end if;
    perform require_room(held.project, held.conversation, sizes_, most_bytes_);
    status := 201;
    answer := uploaded(array(
        select f.file from add_files(
            held.project, held.conversation, held.card, owner_type_, owner_, actor_,
            stored_names_, filenames_, mime_types_, sizes_, digests_
        ) f
    ));
    messages := tell_owner(owner_type_, owner_, held.project, held.conversation, held.card, actor_, client_);
end
$$;

-- Takes a file away, wherever it is: one's own, or in a project another's as its admin.
create or replace function detach(
    actor_ bigint, client_ text, attachment_ bigint,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    a attachments;
    held record;
begin
    select * into a from attachments k where k.id = attachment_ and sees(actor_, k);
    if a.id is null then
        perform refuse(404, 'attachment not found');
    end if;
    if a.owner_type = 'card' then
        perform require_writer(actor_, a.project_id, 'member');
        perform stay_in(a.project_id, a.card_id);
        select d.status, d.answer, d.messages into status, answer, messages
        from detach_from_card(actor_, client_, 'member', null, 409, a.project_id, a.card_id::text, a.id) d;
        return;
    end if;
    if a.owner_type is not null then
        select * into held from hold_owner(actor_, a.owner_type, a.owner_id);
        if a.uploader_id <> actor_ and a.project_id is null then
            perform refuse(403, 'only its uploader may take a file off');
        elsif a.uploader_id <> actor_ then
            perform require_role(actor_, a.project_id, 'admin');
        end if;
    end if;
    delete from attachments k where k.id = a.id and k.owner_type is not distinct from a.owner_type;
    if not found then
        -- It was taken, or deleted, since it was read: once more.
        raise exception using errcode = '40001', message = 'the file changed meanwhile';
    end if;
    status := 204;
    answer := '';
    messages := '{}';
    if a.owner_type is not null then
        messages := tell_owner(a.owner_type, a.owner_id, held.project, held.conversation, held.card, actor_, client_);
    end if;
end
$$;
