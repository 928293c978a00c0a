-- Files of cards. Planned like the changes of cards. A file shows nobody by name, so its shape may come before its seq.

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
    a attachments;
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
    for a in
        insert into attachments (
            project_id, card_id, owner_type, owner_id, uploader_id, stored_name, filename, mime_type, size_bytes, sha256
        )
        select project_, c.id, 'card', c.id, actor_, f.stored_name, f.filename, f.mime_type, f.size, f.digest
        from unnest(stored_names_, filenames_, mime_types_, sizes_, digests_) with ordinality
        f (stored_name, filename, mime_type, size, digest, nth)
        order by f.nth
        returning *
    loop
        perform tell_part(project_, c.id, actor_, 'attachment_added');
        made := made || shape(a)::text;
        events_ := events_ || row(
            'project:' || project_, 'board.attachment_added', joined('{"card_id":' || c.id || '}', shape(a)::text),
            entity(entity('card', c.id), 'attachment', a.id)
        )::new_event;
    end loop;
    status := 201;
    answer := case
        when cardinality(made) = 1 then made[1]
        else joined('{"attachments":[' || array_to_string(made, ',') || ']}', made[1])
    end;
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
