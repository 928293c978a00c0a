"""FastAPI with asyncpg alone: the token is decoded, the membership read, and one statement writes
the message, takes the feed's number and writes the event. No caches.
``fastapi_raw PORT REDIS_URL DATABASE_URL SECRET``
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import asyncpg
import jwt
import redis.asyncio
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel, Field

CONNECTIONS = 16
MEMBERSHIP = """
    select p.id, m.role
    from projects p
    inner join project_members m on m.project_id = p.id
    inner join users u on u.id = m.user_id
    where p.slug = $1 and m.user_id = $2 and u.is_active
"""
SEND = """
    with sent as (
        insert into chat_messages (project_id, user_id, body) values ($1, $2, $3) returning *
    ), head as (
        update feeds set seq = seq + 1 where channel = $4 returning seq
    )
    insert into events (channel, seq, type, payload, actor_id, entity, created_at)
    select
        $4, head.seq, 'chat.message', shape(s::chat_messages, shape(u), null)::text, $2,
        'message:' || s.id, clock_timestamp()
    from sent s cross join head inner join users u on u.id = s.user_id
    returning payload
"""

oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.redis = redis.asyncio.from_url(app.state.redis_url)
    async with asyncpg.create_pool(
        app.state.database, min_size=CONNECTIONS, max_size=CONNECTIONS
    ) as pool:
        app.state.pool = pool
        yield
    await app.state.redis.aclose()


app = FastAPI(lifespan=lifespan)


class MessageIn(BaseModel):
    body: str = Field(min_length=1, max_length=10_000)


async def get_user_id(request: Request, token: Annotated[str, Depends(oauth2_scheme)]) -> int:
    try:
        payload = jwt.decode(token, request.app.state.secret, algorithms=["HS256"])
        return int(payload["sub"])
    except (jwt.InvalidTokenError, KeyError, ValueError) as error:
        raise HTTPException(401, "Could not validate credentials") from error


@app.post("/api/v1/projects/{slug}/chat/messages")
async def send_message(
    slug: str, body: MessageIn, user_id: Annotated[int, Depends(get_user_id)], request: Request
) -> Response:
    async with request.app.state.pool.acquire() as connection:
        membership = await connection.fetchrow(MEMBERSHIP, slug, user_id)
        if membership is None:
            raise HTTPException(404, "Project not found")
        if membership["role"] == "viewer":
            raise HTTPException(403, "Your role does not allow this")
        channel = f"project:{membership['id']}"
        payload = await connection.fetchval(SEND, membership["id"], user_id, body.body, channel)
    await request.app.state.redis.publish(channel, payload)
    return Response(payload, status_code=201, media_type="application/json")


def main(port: str, redis_url: str, database: str, secret: str) -> None:
    app.state.redis_url, app.state.database, app.state.secret = redis_url, database, secret
    uvicorn.run(
        app,
        port=int(port),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
