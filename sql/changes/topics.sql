-- Hot changes of topics: made, replied to. Planned like the changes of cards. Whoever writes a topic, a reply or a topic's
-- counters holds the topic's row until the commit, so that nothing is told of a reply after its topic's deletion.

-- A new topic.
drop function if exists create_topic(bigint, text, text, integer, integer, bigint, text, text);
create or replace function create_topic(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, title_ text, body_ text, names_ text default '',
    out status integer, out answer text, out messages text[]
) language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    t topics;
    channel_ text := 'project:' || project_;
    noted bigint[];
    seq_ bigint;
begin
    perform require_writer(actor_, project_, need_);
    insert into topics (project_id, user_id, title, body, created_at, updated_at, last_activity_at)
    select project_, actor_, title_, body_, moment.now, moment.now, moment.now
    from (select clock_timestamp() as now) moment
    returning * into t;
    noted := note_names(about(actor_, t.body, project_, topic_ => t.id), names_);
    seq_ := take_seq(channel_);
    answer := topic_json(t);
    messages := write_event(seq_, channel_, 'topic.created', answer, entity('topic', t.id), actor_, client_)
        || tell_notifications(noted);
    status := 201;
end
$$;

-- A reply to a live topic. That it is counted there raises no version: nobody wrote the topic. In a topic the ids follow the
-- order of the commits, so nobody pages past a reply to come.
drop function if exists create_reply(bigint, text, text, integer, integer, bigint, bigint, text);
create or replace function create_reply(
    actor_ bigint, client_ text, need_ text, version_ integer, conflict_status_ integer,
    project_ bigint, topic_ bigint, body_ text, names_ text default '',
    out status integer, out answer text, out messages text[]
) language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    moment timestamptz;
    author bigint;
    named bigint[];
    noted bigint[];
    r topic_replies;
    channel_ text := 'project:' || project_;
    seq_ bigint;
begin
    perform require_writer(actor_, project_, need_);
    update topics t set reply_count = t.reply_count + 1, last_activity_at = clock_timestamp()
    where t.id = topic_ and t.project_id = project_ and t.deleted_at is null
    returning t.last_activity_at, t.user_id into moment, author;
    if moment is null then
        perform refuse(404, 'topic not found');
    end if;
    insert into topic_replies (project_id, topic_id, user_id, body, created_at, updated_at)
    values (project_, topic_, actor_, body_, moment, moment)
    returning * into r;
    named := people_named(actor_, project_, names_);
    noted := note(
        about(actor_, r.body, project_, topic_ => topic_, reply_ => r.id), named || author,
        array_fill('mention'::text, array[cardinality(named)]) || array['topic_reply']
    );
    seq_ := take_seq(channel_);
    answer := reply_json(r);
    messages := write_event(
        seq_, channel_, 'topic.reply_created', answer, entity(entity('topic', topic_), 'reply', r.id), actor_, client_
    ) || tell_notifications(noted);
    status := 201;
end
$$;
