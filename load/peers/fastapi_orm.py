"""FastAPI with SQLAlchemy's ORM and pydantic, as the documents of the three advise: the user, the
project and the membership are queried by dependencies, rows become answers by ``response_model``.
``fastapi_orm PORT REDIS_URL DATABASE_URL SECRET``

It serves the chat POST and the board of `fastapi_models`' rows.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import jwt
import redis.asyncio
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import OAuth2PasswordBearer
from sqlalchemy import select
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import selectinload

from load.peers.fastapi_models import (
    BoardOut,
    Card,
    ChatMessage,
    Column,
    Event,
    Feed,
    Membership,
    MessageIn,
    MessageOut,
    Project,
    StarredProject,
    User,
)

CONNECTIONS = 20

oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    engine = create_async_engine(app.state.database, pool_size=CONNECTIONS, max_overflow=0)
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    app.state.redis = redis.asyncio.from_url(app.state.redis_url)
    yield
    await app.state.redis.aclose()
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(get_session)]


async def get_current_user(
    request: Request, token: Annotated[str, Depends(oauth2_scheme)], session: Session
) -> User:
    try:
        payload = jwt.decode(token, request.app.state.secret, algorithms=["HS256"])
        user_id = int(payload["sub"])
    except (jwt.InvalidTokenError, KeyError, ValueError) as error:
        raise HTTPException(401, "Could not validate credentials") from error
    user: User | None = await session.scalar(select(User).where(User.id == user_id))
    if user is None or not user.is_active:
        raise HTTPException(401, "Could not validate credentials")
    return user


CurrentUser = Annotated[User, Depends(get_current_user)]


async def get_membership(slug: str, user: CurrentUser, session: Session) -> Membership:
    project_id = await session.scalar(select(Project.id).where(Project.slug == slug))
    if project_id is None:
        raise HTTPException(404, "Project not found")
    membership: Membership | None = await session.scalar(
        select(Membership).where(Membership.project_id == project_id, Membership.user_id == user.id)
    )
    if membership is None:
        raise HTTPException(404, "Project not found")
    return membership


Mine = Annotated[Membership, Depends(get_membership)]


@app.post("/api/v1/projects/{slug}/chat/messages", response_model=MessageOut, status_code=201)
async def send_message(
    body: MessageIn, membership: Mine, user: CurrentUser, session: Session, request: Request
) -> ChatMessage:
    if membership.role == "viewer":
        raise HTTPException(403, "Your role does not allow this")
    message = ChatMessage(project_id=membership.project_id, user_id=user.id, body=body.body)
    session.add(message)
    await session.flush()
    await session.refresh(message, ["created_at", "updated_at", "user"])
    channel = f"project:{membership.project_id}"
    feed = (
        await session.scalars(select(Feed).where(Feed.channel == channel).with_for_update())
    ).one()
    feed.seq += 1
    payload = MessageOut.model_validate(message).model_dump_json()
    session.add(
        Event(
            channel=channel,
            seq=feed.seq,
            type="chat.message",
            payload=payload,
            actor_id=user.id,
            entity=f"message:{message.id}",
        )
    )
    await session.commit()
    await session.refresh(message)
    await request.app.state.redis.publish(channel, payload)
    return message


@app.get("/api/v1/projects/{slug}", response_model=BoardOut)
async def show_project(membership: Mine, user: CurrentUser, session: Session) -> Any:
    board = (
        await session.scalars(
            select(Project)
            .where(Project.id == membership.project_id)
            .options(
                selectinload(Project.created_by),
                selectinload(Project.labels),
                selectinload(Project.members).selectinload(Membership.user),
                selectinload(Project.columns).options(
                    selectinload(Column.cards).options(
                        selectinload(Card.assignees),
                        selectinload(Card.labels),
                        selectinload(Card.tags),
                    )
                ),
            )
        )
    ).one()
    board.seq = await session.scalar(select(Feed.seq).where(Feed.channel == f"project:{board.id}"))
    board.my_role = membership.role
    board.starred = (
        await session.scalar(
            select(StarredProject).where(
                StarredProject.project_id == board.id, StarredProject.user_id == user.id
            )
        )
        is not None
    )
    return board


def main(port: str, redis_url: str, database: str, secret: str) -> None:
    app.state.redis_url, app.state.secret = redis_url, secret
    app.state.database = make_url(database).set(drivername="postgresql+asyncpg")
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
