-- Comments written, edited and deleted. Planned like the changes of cards.
--
-- A comment shows its author by the name of today, so it is shaped when the seqs are taken.

-- `names_`: the usernames in the text, with spaces between.
drop function if exists create_comment(bigint, text, text, integer, integer, bigint, text, text, integer);
create or replace function create_comment(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, card_ text, body_ text, minutes_ integer, names_ text default '', uploads_ bigint[] default '{}',
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    channel_ text := 'project:' || project_;
    prefix text;
    c cards;
    m card_comments;
    t time_entries;
    changes text[] := array['comment_count'];
    noted bigint[];
    seqs bigint[];
begin
    prefix := require_writer(actor_, project_, need_);
    c.id := hold_part(project_, prefix, card_);
    perform hold_uploads(actor_, project_, null, uploads_);
    insert into card_comments (project_id, card_id, user_id, body) values (project_, c.id, actor_, body_) returning * into m;
    perform give_uploads('card_comment', m.id, c.id, uploads_);
    perform tell_part(project_, c.id, actor_, 'comment_added');
    if minutes_ > 0 then
        t := log_time(m, minutes_, body_);
        update card_comments k set time_spent_minutes = minutes_ where k.id = m.id returning * into m;
        perform tell_part(project_, c.id, actor_, 'time_logged');
        changes := changes || 'time_spent_minutes'::text;
    end if;
    update cards k set comment_count = k.comment_count + 1, time_spent_minutes = k.time_spent_minutes + minutes_
    where k.id = c.id returning * into c;
    noted := note_comment(c, m, names_);
    seqs := take_seqs(array[channel_, channel_]);
    status := 201;
    answer := shape(m)::text;
    messages := write_event(
        seqs[1], channel_, 'board.comment_created', answer, entity(entity('card', c.id), 'comment', m.id), actor_, client_
    ) || write_event(
        seqs[2], channel_, 'board.card_updated', card_updated_payload(changes, card_json(c, prefix)::text),
        entity('card', c.id), actor_, client_
    );
    if t.id is not null then
        perform hold_feeds_of_noted(noted, actor_);
        messages := messages || tell_notifications(noted) || tell_entry('time.entry_created', t, actor_, client_);
    else
        messages := messages || tell_notifications(noted);
    end if;
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

-- Another text or time for one's own comment; null leaves it. Nothing that differs is no event. Who is named newly is told:
-- `names_` are those that the text of version `names_of_` did not have, or all, without a version.
drop function if exists update_comment(bigint, text, text, integer, integer, bigint, text, bigint, text, integer);
drop function if exists update_comment(bigint, text, text, integer, integer, bigint, text, bigint, text, integer, text);
create or replace function update_comment(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, card_ text, comment_ bigint, body_ text, minutes_ integer, names_ text default '',
    names_of_ integer default null,
    out status integer, out answer text, out messages text[]
) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set enable_material = off as $$
declare
    channel_ text := 'project:' || project_;
    prefix text;
    c cards;
    m card_comments;
    t time_entries;
    more integer := 0;
    told_as text;
    noted bigint[];
    seqs bigint[];
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
    body_ := coalesce(body_, m.body);
    minutes_ := coalesce(minutes_, m.time_spent_minutes);
    if body_ = '' and minutes_ = 0 and not has_files('card_comment', m.id) then
        perform refuse(400, 'body: must not be blank', '{"fields":{"body":"blank"}}');
    end if;
    status := 200;
    if (body_, minutes_) = (m.body, m.time_spent_minutes) then
        answer := shape(m)::text;
        return;
    end if;
    t := log_time(m, minutes_, body_);
    if minutes_ <> m.time_spent_minutes then
        more := minutes_ - m.time_spent_minutes;
        perform tell_part(project_, m.card_id, actor_, 'time_logged');
        update cards k set time_spent_minutes = k.time_spent_minutes + more where k.id = m.card_id returning * into c;
    end if;
    told_as := case
        when minutes_ = 0 then 'time.entry_deleted'
        when m.time_spent_minutes = 0 then 'time.entry_created'
        else 'time.entry_updated'
    end;
    if names_of_ is distinct from m.version then
        names_ := new_names(names_, m.body);
    end if;
    update card_comments k set
        body = body_, time_spent_minutes = minutes_, is_edited = true, version = k.version + 1, updated_at = clock_timestamp()
    where k.id = m.id returning * into m;
    noted := note_names(about(actor_, m.body, project_, m.card_id, m.id), names_);
    seqs := take_seqs(array_fill(channel_, array[1 + (more <> 0)::integer]));
    answer := shape(m)::text;
    messages := write_event(
        seqs[1], channel_, 'board.comment_updated', answer, entity(entity('card', m.card_id), 'comment', m.id), actor_, client_
    );
    if more <> 0 then
        messages := messages || write_event(
            seqs[2], channel_, 'board.card_updated',
            card_updated_payload(array['time_spent_minutes'], card_json(c, prefix)::text), entity('card', c.id), actor_, client_
        );
    end if;
    if t.id is not null then
        perform hold_feeds_of_noted(noted, t.user_id);
        messages := messages || tell_notifications(noted) || tell_entry(told_as, t, actor_, client_);
    else
        messages := messages || tell_notifications(noted);
    end if;
end
$$;

-- Deletes one's own comment, with its time, or another's as a project admin: then the time stays its author's. The text leaves the
-- feed.
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
    t time_entries;
    more integer := 0;
    changes text[] := array['comment_count'];
    notes bigint[];
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
    delete from attachments a where a.owner_type = 'card_comment' and a.owner_id = m.id;
    if m.user_id <> actor_ and m.time_spent_minutes > 0 then
        perform hold_time(m.user_id);
        update time_entries e set
            comment_id = null, updated_at = clock_timestamp(),
            description = case when e.description = first_sentence(m.body) then '' else e.description end
        where e.comment_id = m.id returning * into t;
    elsif m.time_spent_minutes > 0 then
        t := log_time(m, 0, m.body);
        more := - m.time_spent_minutes;
        changes := changes || 'time_spent_minutes'::text;
    end if;
    update cards k set comment_count = k.comment_count - 1, time_spent_minutes = k.time_spent_minutes + more
    where k.id = c.id returning * into c;
    notes := array(select n.id from notifications n where n.comment_id = m.id);
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
                channel_, 'board.card_updated', card_updated_payload(changes, card_json(c, prefix)::text),
                entity('card', c.id)
            )::new_event
        ], actor_, client_, seqs
    );
    if t.id is not null then
        perform 1 from notifications n where n.id = any(notes) order by n.id for update;
        perform hold_feeds_of_noted(notes, t.user_id);
    end if;
    messages := messages || forget_notifications(
        actor_, entity(entity(entity('notified', project_), 'card', c.id), 'comment', m.id), notes
    );
    if t.id is not null then
        messages := messages || tell_entry('time.entry_deleted', t, actor_, client_);
        if t.comment_id is null then
            -- It is told anew without the text, which the feed forgets.
            messages := messages || tell_entry('time.entry_created', t, actor_, client_);
        end if;
    end if;
end
$$;
