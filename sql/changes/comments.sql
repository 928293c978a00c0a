-- Comments written, edited and deleted. Planned like the changes of cards.
--
-- A comment shows its author by the name of today, so it is shaped when the seqs are taken.

create or replace function create_comment(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, card_ text, body_ text,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    channel_ text := 'project:' || project_;
    prefix text;
    c cards;
    m card_comments;
    seqs bigint[];
begin
    prefix := require_writer(actor_, project_, need_);
    c.id := hold_part(project_, prefix, card_);
    insert into card_comments (project_id, card_id, user_id, body) values (project_, c.id, actor_, body_) returning * into m;
    update cards k set comment_count = k.comment_count + 1 where k.id = c.id returning * into c;
    perform tell_part(project_, c.id, actor_, 'comment_added');
    seqs := take_seqs(array[channel_, channel_]);
    status := 201;
    answer := shape(m)::text;
    messages := write_event(
        seqs[1], channel_, 'board.comment_created', answer, entity(entity('card', c.id), 'comment', m.id), actor_, client_
    ) || write_event(
        seqs[2], channel_, 'board.card_updated', card_updated_payload(array['comment_count'], card_json(c, prefix)::text),
        entity('card', c.id), actor_, client_
    );
end
$$;

-- A live comment of a card, locked after it.
create or replace function lock_comment(card_ bigint, comment_ bigint) returns card_comments language plpgsql as $$
declare
    m card_comments;
begin
    select * into m from card_comments k where k.id = comment_ and k.card_id = card_ and k.deleted_at is null for no key update;
    if m.id is null then
        perform refuse(404, 'comment not found');
    end if;
    return m;
end
$$;

-- Another text for one's own comment. The same text is no event.
create or replace function update_comment(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, card_ text, comment_ bigint, body_ text,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    channel_ text := 'project:' || project_;
    prefix text;
    m card_comments;
    seq_ bigint;
begin
    messages := '{}';
    prefix := require_writer(actor_, project_, need_);
    m := lock_comment(hold_part(project_, prefix, card_), comment_);
    if m.user_id <> actor_ then
        perform refuse(403, 'only its author may edit a comment');
    end if;
    if version_ <> m.version then
        perform require_version(version_, m.version, conflict_status_, 'comment', shape(m));
    end if;
    if body_ <> m.body then
        update card_comments k set body = body_, is_edited = true, version = k.version + 1, updated_at = clock_timestamp()
        where k.id = m.id returning * into m;
        seq_ := take_seq(channel_);
        answer := shape(m)::text;
        messages := write_event(
            seq_, channel_, 'board.comment_updated', answer, entity(entity('card', m.card_id), 'comment', m.id), actor_, client_
        );
    else
        answer := shape(m)::text;
    end if;
    status := 200;
end
$$;

-- Deletes one's own comment, or another's as a project admin. Its text leaves the feed.
create or replace function delete_comment(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, card_ text, comment_ bigint,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    channel_ text := 'project:' || project_;
    prefix text;
    c cards;
    m card_comments;
    seqs bigint[];
begin
    prefix := require_writer(actor_, project_, need_);
    c.id := hold_part(project_, prefix, card_);
    m := lock_comment(c.id, comment_);
    if m.user_id <> actor_ then
        perform require_role(actor_, project_, 'admin');
    end if;
    if version_ <> m.version then
        perform require_version(version_, m.version, conflict_status_, 'comment', shape(m));
    end if;
    update card_comments k set deleted_at = clock_timestamp(), updated_at = clock_timestamp(), version = k.version + 1
    where k.id = m.id;
    update cards k set comment_count = k.comment_count - 1 where k.id = c.id returning * into c;
    seqs := take_seqs(array[channel_, channel_]);
    status := 204;
    answer := '';
    messages := write_events(
        array[
            row(
                channel_, 'board.comment_deleted', '{"comment_id":' || m.id || ',"card_id":' || c.id || '}',
                entity(entity('card', c.id), 'comment', m.id)
            )::new_event,
            row(
                channel_, 'board.card_updated', card_updated_payload(array['comment_count'], card_json(c, prefix)::text),
                entity('card', c.id)
            )::new_event
        ], actor_, client_, seqs
    );
end
$$;
